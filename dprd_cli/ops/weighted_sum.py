"""Weighted sums of the rows of a table, differentiable in the table and in the weights."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dprd_cli.ops.precision import full_precision

_AT_ONCE = 8192  # bags, where their sums are cast


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _has_kernel(table: Tensor) -> bool:
    narrow = table.is_cuda and table.dtype != torch.float64
    return narrow and not torch.are_deterministic_algorithms_enabled() and _has_triton()


def bag_table(table: Tensor) -> Tensor:
    """Return a table [N, C] as `weighted_bags` sums it: cast here once, it is not cast at every call."""
    return table if _has_kernel(table) else full_precision(table)


class _Bags(torch.autograd.Function):
    """`embedding_bag` whose gradient of the table is one product of a sparse matrix, for the CPU.

    PyTorch's own sorts the rows first, which takes half of its time. The product adds tap after tap, in the
    order they lie, so its sums are the same at each call (62,720 bags of 16 rows of 96 numbers, one core: 130
    against 54 ms).
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
        ctx.save_for_backward(table, rows, weights, offsets)
        return F.embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        table, rows, weights, offsets = ctx.saved_tensors
        grad, taps = grads[0].contiguous(), rows.reshape(-1)
        starts, bags = _bag_of_each_tap(rows, offsets)
        to_table: Tensor | None = None
        to_weights: Tensor | None = None
        if ctx.needs_input_grad[0]:
            size = (len(table), len(grad))
            places = torch.stack((taps, bags))
            spread = torch.sparse_coo_tensor(places, weights.reshape(-1), size, check_invariants=False)
            to_table = torch.sparse.mm(spread, grad)
        if ctx.needs_input_grad[2]:
            products = torch.ops.aten._embedding_bag_per_sample_weights_backward  # noqa: SLF001
            to_weights = products(grad, table, taps, starts, bags, 0).view_as(weights)
        return to_table, None, to_weights, None


def _bag_of_each_tap(rows: Tensor, offsets: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return where each bag starts [B], and the bag of each entry of `rows` [sum of widths]."""
    if offsets is None:
        bags = torch.arange(len(rows), device=rows.device)
        return bags * rows.shape[1], bags[:, None].expand_as(rows).reshape(-1)
    widths = torch.diff(offsets, append=offsets.new_tensor([len(rows)]))
    return offsets, torch.repeat_interleave(torch.arange(len(offsets), device=rows.device), widths)


def weighted_bags(
    table: Tensor,
    rows: Tensor,
    weights: Tensor,
    offsets: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return sum_t weights[b, t] * table[rows[b, t]] of each bag b.

    On CUDA, bags of one width go through a kernel of our own (`weighted_sum_triton.py`), except where
    deterministic algorithms are asked for: its feature gradient is summed in no fixed order. Everything else
    is PyTorch's `embedding_bag`, on a CPU with another gradient (`_Bags`), in float32 or wider: it has no
    bfloat16 gradient for the weights on CUDA, and bilinear weights of 8 bits would make a poor gradient for
    the boxes.

    Args:
        table: [N, C]
        rows: int64. [B, T], or [sum of widths] with `offsets`
        weights: As `rows`. [B, T], or [sum of widths]
        offsets: Start of each bag, for bags of different widths, int64. [B]
        dtype: Type of the result; by default the table's.

    Returns:
        Summed in float32 or wider. [B, C]
    """
    dtype = dtype or table.dtype
    if offsets is None and _has_kernel(table):
        from dprd_cli.ops.weighted_sum_triton import Bags

        pooled: Tensor = Bags.apply(table, rows, weights)
        return pooled.to(dtype)
    wide = full_precision(table)
    weights = weights.to(wide.dtype)
    graded = torch.is_grad_enabled() and (wide.requires_grad or weights.requires_grad)
    if graded and wide.device.type == "cpu":
        sums: Tensor = _Bags.apply(wide, rows, weights, offsets)
        return sums.to(dtype)
    if graded or dtype == wide.dtype or offsets is not None or wide.device.type != "cpu":
        return F.embedding_bag(rows, wide, offsets, mode="sum", per_sample_weights=weights).to(dtype)
    # what is to be narrow is made so while it is in the cache
    narrow = wide.new_empty((len(rows), wide.shape[1]), dtype=dtype)
    pieces = (torch.split(values, _AT_ONCE) for values in (narrow, rows, weights))
    for sums, those, theirs in zip(*pieces, strict=True):
        sums.copy_(F.embedding_bag(those, wide, mode="sum", per_sample_weights=theirs))
    return narrow


__all__ = ["bag_table", "weighted_bags"]
