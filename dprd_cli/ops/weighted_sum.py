"""Weighted sums of the rows of a table, differentiable in the table and in the weights."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dprd_cli.ops.gradients import backward_pass
from dprd_cli.ops.precision import full_precision
from dprd_cli.ops.threads import at_once

_AT_ONCE = 8192  # bags, where their sums are cast
_SUMS = 2  # of a table's gradient, at most: each is as large as the table, as much as a call of its own has


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _has_kernel(table: Tensor) -> bool:
    narrow = table.is_cuda and table.dtype != torch.float64
    return narrow and not torch.are_deterministic_algorithms_enabled() and _has_triton()


def bag_table(table: Tensor) -> Tensor:
    """Return a table [N, C] as `weighted_bags` sums it: cast here once, it is not cast at every call.

    On a CPU the gradients of all calls are added up in one place (`_TableGradient`).
    """
    if _has_kernel(table):
        return table
    wide = full_precision(table)
    if not _is_graded(wide) or wide.device.type != "cpu":
        return wide
    shared: Tensor = _Shared.apply(wide)
    return shared


def _is_graded(*values: Tensor) -> bool:
    return torch.is_grad_enabled() and any(value.requires_grad for value in values)


class _TableGradient:
    """Sum of the gradients that a table [N, C] gets from several calls, in one backward pass.

    A table has millions of numbers: that each call fills one of its own with zeros, to be added to the
    others', takes as long as the taps do. Two threads, where there are, have a sum each; both are added up at
    the end.

    Args:
        table: Whose gradient it is.
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._sums: list[Tensor] = []
        self._task = -1

    def add(self, taps: Tensor, bags: Tensor, weights: Tensor, grad: Tensor) -> None:
        """Add weights[t] * grad[bags[t]] to row taps[t], for each tap t.

        Args:
            taps: int64. [T]
            bags: int64, ascending. [T]
            weights: [T]
            grad: Gradient of each bag. [B, C]
        """
        if (task := backward_pass()) != self._task:  # what is left is of a pass that did not want it
            self._sums, self._task = [], task
        if not self._sums:
            count = min(torch.get_num_threads(), _SUMS)
            self._sums = [torch.zeros_like(self._table) for _ in range(count)]
        places = torch.stack((taps, bags)).tensor_split(len(self._sums), dim=1)
        of_sums = weights.tensor_split(len(self._sums))
        jobs = [(*values, grad) for values in zip(self._sums, places, of_sums, strict=True)]
        at_once(_add_taps, jobs)

    def total(self) -> Tensor | None:
        """Return the sum [N, C], once, or None where nothing was added in this pass."""
        sums, self._sums = self._sums if self._task == backward_pass() else [], []
        for other in sums[1:]:
            sums[0].add_(other)
        return sums[0] if sums else None


def _add_taps(total: Tensor, places: Tensor, weights: Tensor, grad: Tensor) -> None:
    """Add taps to `total`, one after the other; see `_TableGradient.add`. PyTorch does it on one thread."""
    size = (len(total), len(grad))
    total.addmm_(torch.sparse_coo_tensor(places, weights, size, check_invariants=False), grad)


class _Shared(torch.autograd.Function):
    """A table whose gradient `_Bags` adds up where it finds it, at this node."""

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.table_gradient = _TableGradient(table.detach())
        return table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Tensor | None:
        gradient: _TableGradient = ctx.table_gradient
        total, (other,) = gradient.total(), grads
        if total is None or other is None:
            return other if total is None else total
        return total.add_(other)


class _Bags(torch.autograd.Function):
    """`embedding_bag` whose gradient of the table is the product of a sparse matrix, for the CPU.

    PyTorch's own sorts the rows first, which takes half of its time. The product adds tap after tap, in the
    order they lie, so its sums are the same at each call with as many threads (62,720 bags of 16 rows of 96
    numbers, one core: 130 against 54 ms).
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor, offsets: Tensor | None) -> Tensor:
        ctx.save_for_backward(table, rows, weights, offsets)
        ctx.table_gradient = getattr(table.grad_fn, "table_gradient", None)
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
            own = ctx.table_gradient or _TableGradient(table)
            own.add(taps, bags, weights.reshape(-1), grad)
            to_table = None if ctx.table_gradient else own.total()
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
    graded = _is_graded(wide, weights)
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
