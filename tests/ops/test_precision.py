import pytest
import torch

from dprd_cli.ops.precision import full_linear, full_precision


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_narrow_numbers_become_wide(narrow):
    assert full_precision(torch.ones(2, dtype=narrow)).dtype == torch.float32


@pytest.mark.parametrize("wide", [torch.float32, torch.float64])
def test_wide_numbers_stay_as_they_are(wide):
    x = torch.ones(2, dtype=wide)
    assert full_precision(x) is x


def test_a_full_linear_layer_is_in_float32_under_autocast_too():
    torch.manual_seed(0)
    x, weight, bias = torch.rand(3, 8), torch.rand(2, 8, requires_grad=True), torch.rand(2)
    plain = torch.nn.functional.linear(x, weight, bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.nn.functional.linear(x, weight, bias).dtype == torch.bfloat16
        assert torch.equal(full_linear(x, weight, bias), plain)
        assert full_linear(x.bfloat16(), weight, bias).dtype == torch.float32
    assert torch.equal(full_linear(x, weight, bias), plain)
    assert full_linear(x.to("meta"), weight.to("meta"), bias.to("meta")).shape == (3, 2)
