import pytest
import torch

from dprd_cli.ops.precision import full_precision


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_narrow_numbers_become_wide(narrow):
    assert full_precision(torch.ones(2, dtype=narrow)).dtype == torch.float32


@pytest.mark.parametrize("wide", [torch.float32, torch.float64])
def test_wide_numbers_stay_as_they_are(wide):
    x = torch.ones(2, dtype=wide)
    assert full_precision(x) is x
