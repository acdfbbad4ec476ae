"""Precision: float32 where mixed precision would lose what matters."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """Return `x` in float32 if it is narrower (under autocast), else as it is. [...] -> [...]."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def autocast_dtype(x: Tensor) -> torch.dtype:
    """Return the type in which a convolution of `x` [...] computes: autocast's where it is on, or its own."""
    kind = x.device.type
    if x.is_floating_point() and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which operations on `x` [...] are in the type of what they are given."""
    kind = x.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def full_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b in float32, under autocast too: for coordinates, scores and logits of few classes.

    Args:
        x: [..., C]
        weight: [D, C]
        bias: [D]

    Returns:
        [..., D]
    """
    with without_autocast(x):
        return F.linear(full_precision(x), weight, bias)
