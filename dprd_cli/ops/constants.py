"""Numbers that the host knows, where the tensors are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def constant(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor of numbers on a device, which is not waited for, as `Tensor.new_tensor` would.

    Args:
        values: A number, or nested sequences of them.
        device: Where it is needed.
        dtype: By default, what the numbers are.

    Returns:
        In the shape of `values`. [...]
    """
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


__all__ = ["constant"]
