"""Group normalisation of bfloat16 maps, against float32."""

import pytest
import torch
import torch.nn.functional as F

from dprd_cli.ops.normalisation import group_norm


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_float32_rounded_once(layout, autocast):
    torch.manual_seed(0)
    x = torch.randn(5, 16, 7, 7).bfloat16().contiguous(memory_format=layout).requires_grad_()
    weight, bias = (torch.randn(16, requires_grad=True) for _ in range(2))
    towards = torch.randn(5, 16, 7, 7).bfloat16()  # in another layout than `x`, where that is channels-last
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        ours = group_norm(x, 4, weight, bias, 1e-5)
    assert (ours.dtype, ours.is_contiguous(memory_format=layout)) == (torch.bfloat16, True)
    expected = F.group_norm(x.float(), 4, weight, bias, 1e-5)
    assert torch.equal(ours, expected.bfloat16())
    leaves = (x, weight, bias)
    for one, other in zip(
        torch.autograd.grad(ours, leaves, towards),
        torch.autograd.grad(expected, leaves, towards.float()),
        strict=True,
    ):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other)


def test_only_what_needs_a_gradient_gets_one():
    x, weight = torch.randn(2, 8, 3, 3).bfloat16(), torch.ones(8, requires_grad=True)
    group_norm(x, 2, weight, torch.zeros(8), 1e-5).sum().backward()
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("x", [torch.randn(2, 8, 3, 3), torch.zeros(0, 8, 3, 3).bfloat16()])
def test_all_else_is_pytorch_s(x):
    weight = torch.ones(8)
    ours = group_norm(x, 2, weight.to(x.dtype), weight.to(x.dtype), 1e-5)
    assert torch.equal(ours, F.group_norm(x, 2, weight.to(x.dtype), weight.to(x.dtype)))
