"""Operations that PyTorch has, whose gradient costs less here; and which backward pass is running."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def backward_pass() -> int:
    """Return the number of the backward pass that is running, another for each; -1 outside of any."""
    return torch._C._current_graph_task_id()  # noqa: SLF001 (no public function tells)


class _Max(torch.autograd.Function):
    """Elementwise maximum whose gradient goes to the larger input, and to the first on a tie.

    `torch.maximum` halves the gradient on ties (half of all elements here: both sides end in ReLU) and takes
    seven times as long forward and backward on a CPU (24 against 3.4 ms for 431 x 64 x 7 x 7).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a >= b)
        return torch.maximum(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (first,) = ctx.saved_tensors
        to_a = grads[0] * first
        return to_a, grads[0] - to_a


def strongest(a: Tensor, b: Tensor) -> Tensor:
    """Return the elementwise maximum, the "max unit" of Eq. 1. [...], [...] -> [...]."""
    if not torch.is_grad_enabled():
        return torch.maximum(a, b)
    result: Tensor = _Max.apply(a, b)
    return result


class _Unbind(torch.autograd.Function):
    """`parts.unbind(dim=1)` whose gradient lies as pooled parts do: each part's together, channels-last.

    PyTorch stacks the gradients in the order of the axes, which what pooled the parts then has to undo.
    """

    @staticmethod
    def forward(ctx: Any, parts: Tensor) -> tuple[Tensor, ...]:
        del ctx
        return tuple(part.view_as(part) for part in parts.unbind(dim=1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        del ctx
        by_part = torch.stack([grad.permute(0, 2, 3, 1) for grad in grads])  # [P, R, S, S, C]
        return by_part.permute(1, 0, 4, 2, 3)


def each_part(parts: Tensor) -> tuple[Tensor, ...]:
    """Return the features of each part. [R, P, C, S, S] -> P x [R, C, S, S]."""
    if not (torch.is_grad_enabled() and parts.requires_grad):
        return parts.unbind(dim=1)
    features: tuple[Tensor, ...] = _Unbind.apply(parts)
    return features
