"""Weighted bags of rows as Triton kernels, for CUDA; `bags.py` has the plain form, and when which is used.

One program sums one bag: all of a row's channels are loaded together, and the bag's sum stays in registers.
The backward pass reads each row once for both gradients.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


@triton.jit
def _sum_bags(
    table,
    rows,
    weights,
    out,
    channels,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    bag = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    inside = channel < channels
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for tap in tl.static_range(WIDTH):
        row = tl.load(rows + bag * WIDTH + tap)
        weight = tl.load(weights + bag * WIDTH + tap).to(tl.float32)
        total += weight * tl.load(table + row * channels + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + bag * channels + channel, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _spread_bags(
    table,
    rows,
    weights,
    grad,
    grad_table,
    grad_weights,
    channels,
    TABLE: tl.constexpr,
    WEIGHTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    bag = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    inside = channel < channels
    got = tl.load(grad + bag * channels + channel, mask=inside, other=0.0).to(tl.float32)
    for tap in tl.static_range(WIDTH):
        row = tl.load(rows + bag * WIDTH + tap) * channels
        if WEIGHTS:
            value = tl.load(table + row + channel, mask=inside, other=0.0).to(tl.float32)
            tl.store(grad_weights + bag * WIDTH + tap, tl.sum(value * got))
        if TABLE:
            weight = tl.load(weights + bag * WIDTH + tap).to(tl.float32)
            tl.atomic_add(grad_table + row + channel, weight * got, mask=inside, sem="relaxed")


class Bags(torch.autograd.Function):
    """`bags.weighted_bags` without offsets. Gradients are summed in float32."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """Sum. table [N, C], rows and weights [B, T] -> [B, C]."""
        table, rows, weights = table.contiguous(), rows.contiguous(), weights.contiguous()
        ctx.save_for_backward(table, rows, weights)
        out = table.new_empty((len(rows), table.shape[1]))
        _sum_bags[(len(rows),)](table, rows, weights, out, table.shape[1], **_launch(table, rows))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        """Return the gradients of table [N, C] and weights [B, T] where they are wanted, from [B, C]."""
        table, rows, weights = ctx.saved_tensors
        to_table, _, to_weights = ctx.needs_input_grad
        grad_table = torch.zeros_like(table, dtype=torch.float32) if to_table else table
        grad_weights = torch.empty_like(weights, dtype=torch.float32) if to_weights else weights
        wanted = {"TABLE": to_table, "WEIGHTS": to_weights}
        _spread_bags[(len(rows),)](
            table,
            rows,
            weights,
            grad.contiguous(),
            grad_table,
            grad_weights,
            table.shape[1],
            **wanted,
            **_launch(table, rows),
        )
        return (
            grad_table.to(table.dtype) if to_table else None,
            None,
            grad_weights.to(weights.dtype) if to_weights else None,
        )


def _launch(table: Tensor, rows: Tensor) -> dict[str, int]:
    # 2 warps: 4 of 256 channels a thread
    return {"WIDTH": rows.shape[1], "BLOCK": triton.next_power_of_2(table.shape[1]), "num_warps": 2}
