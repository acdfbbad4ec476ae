"""A map plus one of half its size, against the plain way."""

import pytest
import torch
import torch.nn.functional as F

from dprd_cli.ops.upsampling import add_upsampled


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(8, 12), (7, 12), (8, 11)])
def test_values_are_those_of_upsampling_and_a_sum(size, layout, graded):
    torch.manual_seed(0)
    fine = torch.randn(2, 6, *size).contiguous(memory_format=layout)
    coarse = torch.randn(2, 6, 4, 6).contiguous(memory_format=layout)
    expected = F.interpolate(coarse, size=size, mode="nearest") + fine
    with torch.set_grad_enabled(graded):
        assert torch.equal(add_upsampled(fine.clone(memory_format=torch.preserve_format), coarse), expected)


def test_gradients_are_those_of_upsampling_and_a_sum():
    fine, coarse = (
        torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
        for side in (8, 4)
    )
    towards = torch.randn(1, 3, 8, 8)
    ours = torch.autograd.grad(add_upsampled(fine, coarse), (fine, coarse), towards)
    assert torch.equal(ours[0], towards)
    torch.testing.assert_close(ours[1], 4 * F.avg_pool2d(towards, 2))
