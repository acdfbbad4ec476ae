"""Operations with a gradient of their own, against the plain ones."""

import torch

from dprd_cli.ops.gradients import each_part


def test_the_gradient_of_parts_lies_as_they_are_pooled():
    pooled = torch.randn(4, 2, 7, 7, 8).permute(1, 0, 4, 2, 3).requires_grad_()  # [R, P, C, S, S]
    towards = torch.randn(2, 8, 7, 7)
    features = each_part(pooled)
    assert all(torch.equal(one, pooled[:, part]) for part, one in enumerate(features))
    total = sum((part + 1) * (one * towards).sum() for part, one in enumerate(features[:3]))
    (got,) = torch.autograd.grad(total, pooled)
    assert torch.equal(got, torch.stack([towards, 2 * towards, 3 * towards, 0 * towards], dim=1))
    assert got.stride() == pooled.stride()
