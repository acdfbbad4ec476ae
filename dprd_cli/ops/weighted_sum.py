"""Weighted sums of the rows of a table, differentiable in the table and in the weights."""

from __future__ import annotations

import functools
import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

from dprd_cli.ops.precision import full_precision


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _has_kernel(table: Tensor) -> bool:
    narrow = table.is_cuda and table.dtype != torch.float64
    return narrow and not torch.are_deterministic_algorithms_enabled() and _has_triton()


def bag_table(table: Tensor) -> Tensor:
    """Return a table [N, C] as `weighted_bags` sums it: cast here once, it is not cast at every call."""
    return table if _has_kernel(table) else full_precision(table)


def weighted_bags(table: Tensor, rows: Tensor, weights: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Return sum_t weights[b, t] * table[rows[b, t]] of each bag b.

    On CUDA, bags of one width go through a kernel of our own (`weighted_sum_triton.py`), except where
    deterministic algorithms are asked for: its feature gradient is summed in no fixed order. Everything else
    is PyTorch's `embedding_bag`, in float32 or wider: it has no bfloat16 gradient for the weights on CUDA,
    and bilinear weights of 8 bits would make a poor gradient for the boxes.

    Args:
        table: [N, C]
        rows: int64. [B, T], or [sum of widths] with `offsets`
        weights: As `rows`. [B, T], or [sum of widths]
        offsets: Start of each bag, for bags of different widths, int64. [B]

    Returns:
        In the table's dtype, summed in float32 or wider. [B, C]
    """
    if offsets is None and _has_kernel(table):
        from dprd_cli.ops.weighted_sum_triton import Bags

        pooled: Tensor = Bags.apply(table, rows, weights)
        return pooled
    wide = full_precision(table)
    sums = F.embedding_bag(rows, wide, offsets, mode="sum", per_sample_weights=weights.to(wide.dtype))
    return sums.to(table.dtype)


__all__ = ["bag_table", "weighted_bags"]
