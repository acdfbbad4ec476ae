"""Operations with a gradient of their own, against the plain ones."""

import torch

from dprd_cli.ops.gradients import backward_pass, each_part


def test_the_gradient_of_parts_lies_as_they_are_pooled():
    pooled = torch.randn(4, 2, 7, 7, 8).permute(1, 0, 4, 2, 3).requires_grad_()  # [R, P, C, S, S]
    towards = torch.randn(2, 8, 7, 7)
    features = each_part(pooled)
    assert all(torch.equal(one, pooled[:, part]) for part, one in enumerate(features))
    total = sum((part + 1) * (one * towards).sum() for part, one in enumerate(features[:3]))
    (got,) = torch.autograd.grad(total, pooled)
    assert torch.equal(got, torch.stack([towards, 2 * towards, 3 * towards, 0 * towards], dim=1))
    assert got.stride() == pooled.stride()


def test_backward_passes_are_told_apart():
    seen = []
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda grad: seen.append(backward_pass()))
    for _ in range(2):
        (x * 2).sum().backward()
    assert len(set(seen)) == 2
    assert backward_pass() == -1
    assert -1 not in seen
