"""Precision: float32 where mixed precision would lose what matters."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """Return `x` in float32 if it is narrower (under autocast), else as it is. [...] -> [...]."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
