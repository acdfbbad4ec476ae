"""RoIAlign over a feature pyramid, differentiable in the features and in the boxes.

The usual RoIAlign kernels (torchvision's, Detectron2's) return no gradient for the boxes: with them the
part box transformation layer never learns, and nothing fails. Here each pooled bin is a weighted bag of
feature rows: all cells of all levels and images are the rows of one channels-last table, the bilinear
weights are the bag's weights, and `weighted_bags` differentiates both. The bilinear weights are piecewise
linear in the box, so autograd carries the gradient on to the box.

Source: values of Mask R-CNN's RoIAlign (He et al. 2017), levels of FPN (Lin et al. 2017, Eq. 1), shifted bins
of deformable RoI pooling (Dai et al. 2017, Eq. 5).
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from dprd_cli.ops.boxes import box_area
from dprd_cli.ops.constants import constant
from dprd_cli.ops.weighted_sum import bag_table, weighted_bags


class FeatureTable(NamedTuple):
    """All cells of a pyramid as the rows of one matrix.

    Args:
        rows: Features, level by level, image by image, row-major. [sum(N*H*W), C]
        sizes: (H, W) of each level. [L, 2]
        starts: First row of each level. [L]
        strides: Pixels per cell of each level.
        dtype: What is pooled from it is given in, where that is not the type of the rows.
    """

    rows: Tensor
    sizes: Tensor
    starts: Tensor
    strides: tuple[int, ...]
    dtype: torch.dtype | None = None

    @staticmethod
    def build(features: list[Tensor], strides: tuple[int, ...]) -> FeatureTable:
        """Lay out pyramid features [N, C, H, W] (free of copies but one if they are channels-last)."""
        rows = [f.permute(0, 2, 3, 1).flatten(0, 2) for f in features]
        device = features[0].device
        sizes = constant([f.shape[-2:] for f in features], device)
        starts = constant([*accumulate((len(r) for r in rows), initial=0)][:-1], device)
        return FeatureTable(torch.cat(rows), sizes, starts, strides)

    def for_pooling(self) -> FeatureTable:
        """Return the table with rows that are cast once to what is summed in, and not at every pooling."""
        return self._replace(rows=bag_table(self.rows), dtype=self.dtype or self.rows.dtype)


def assign_levels(boxes: Tensor, num_levels: int, canonical_size: float = 224.0, eps: float = 1e-8) -> Tensor:
    """Return the pyramid level of each box, 0 for P2.

    Args:
        boxes: [..., 4]
        num_levels: Levels to choose from, P2 upward.
        canonical_size: Side of a box that belongs to P4, pixels.
        eps: Added inside the floor; frameworks differ in where (`model/conventions.py`), to no effect but on
            the borders between levels.

    Returns:
        floor(4 + log2(sqrt(area) / canonical_size)) - 2, clamped to the levels there are; int64. [...]

    Source: Lin et al. 2017, Eq. 1.
    """
    areas = box_area(boxes)
    level = torch.floor(4 + torch.log2(areas.clamp(min=0).sqrt() / canonical_size + eps))
    return (level.clamp(2, num_levels + 1) - 2).long()


def _axis_samples(start: Tensor, extent: Tensor, bins: int, samples: int) -> Tensor:
    """Return the sampled positions along one axis, or several, in cells. [..., S, samples].

    Args:
        start: First edge of the RoI, in cells (half-pixel shift applied). [...]
        extent: Length of the RoI, in cells. [...]
        bins: S.
        samples: Samples per bin.
    """
    steps = (torch.arange(bins * samples, device=start.device, dtype=start.dtype) + 0.5) / (bins * samples)
    return (start[..., None] + steps * extent[..., None]).view(*start.shape, bins, samples)


def _axis_taps(position: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Return cells and weights along an axis: every sample is a blend of two neighbouring cells.

    Args:
        position: Samples along the axis, in cells. [..., samples]
        limit: Number of cells of the map, broadcast against the samples.

    Returns:
        Cell indices (int64) and weights (differentiable in `position`), [..., 2*samples] each.
        A sample further than one cell outside the map weighs nothing, as in the reference kernels.
    """
    last = (limit - 1).to(position.dtype)
    inside = (position >= -1) & (position <= last + 1)
    position = torch.minimum(position.clamp(min=0), last)
    low = position.detach().floor()
    high_weight = (position - low) * inside
    low_weight = inside.to(position.dtype) - high_weight
    high = torch.minimum(low + 1, last)
    cells = torch.stack((low, high), dim=-1).long()
    weights = torch.stack((low_weight, high_weight), dim=-1)
    return cells.flatten(-2), weights.flatten(-2)


def _both_axes(scaled: Tensor, size: Tensor, bins: int, samples: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return what `_axis_taps` does of x [R, 1, S, 2*samples] and y [R, S, 1, 2*samples], in half the calls.

    Each call costs a GPU's host the same, however small the tensors are.
    """
    position = _axis_samples(scaled[:, :2], scaled[:, 2:] - scaled[:, :2], bins, samples)  # [R, 2, S, s]
    cells, weights = _axis_taps(position, size.flip(1)[..., None, None])
    return (cells[:, :1], weights[:, :1]), (cells[:, 1, :, None], weights[:, 1, :, None])


def _each_axis(
    scaled: Tensor, size: Tensor, bins: int, samples: tuple[int, int], shifts: Tensor | None
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return what `_both_axes` does, for counts of samples that differ and for shifted bins.

    Rows of bins differ in y only and columns in x only, unless each bin is shifted on its own: with `shifts`
    cells and weights are [R, S, S, 2*samples].
    """
    extent = scaled[:, 2:] - scaled[:, :2]
    x = _axis_samples(scaled[:, 0], extent[:, 0], bins, samples[1])[:, None]  # [R, 1, S, sx]
    y = _axis_samples(scaled[:, 1], extent[:, 1], bins, samples[0])[:, :, None]  # [R, S, 1, sy]
    if shifts is not None:
        moves = (shifts * extent[:, None, None])[..., None]  # [R, S, S, 2, 1]
        x, y = x + moves[:, :, :, 0], y + moves[:, :, :, 1]  # [R, S, S, s]
    height, width = size[..., None, None, None].unbind(1)
    return _axis_taps(x, width), _axis_taps(y, height)


def _bags(
    scaled: Tensor,
    base: Tensor,
    size: Tensor,
    bins: int,
    samples: tuple[int, int],
    *,
    shifts: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return rows and weights of every bin's bag, [R*S*S, 4*sy*sx] each; see `roi_align`."""
    if shifts is None and samples[0] == samples[1]:
        (x_cells, x_weights), (y_cells, y_weights) = _both_axes(scaled, size, bins, samples[0])
    else:
        (x_cells, x_weights), (y_cells, y_weights) = _each_axis(scaled, size, bins, samples, shifts)
    y_rows = base[:, None, None, None] + y_cells * size[:, 1, None, None, None]
    rows = y_rows[..., :, None] + x_cells[..., None, :]  # [R, S, S, 2sy, 2sx]
    y_weights = y_weights / (samples[0] * samples[1])
    weights = y_weights[..., :, None] * x_weights[..., None, :]
    width = 4 * samples[0] * samples[1]
    return rows.reshape(-1, width), weights.reshape(-1, width)


def roi_align(
    table: FeatureTable,
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    output_size: int,
    *,
    sampling_ratio: int = 2,
    aligned: bool = True,
    shifts: Tensor | None = None,
) -> Tensor:
    """Pool a feature of `output_size` x `output_size` bins from each box.

    Args:
        table: The pyramid.
        boxes: [R, 4]
        image_index: Image of each box, int64. [R]
        levels: Level of each box, int64. [R]
        output_size: S.
        sampling_ratio: Samples per bin and axis; 0 takes ceil(size / S) of them, by the box.
        aligned: Shift by half a pixel (Detectron2); otherwise torchvision's legacy frame, whose RoIs are
            at least one cell large.
        shifts: (dx, dy) of each bin, in units of the box's width and height: deformable RoI pooling. By
            rows of bins. [R, S, S, 2]

    Returns:
        Values of `torchvision.ops.roi_align`, where there are no shifts or all are 0; channels-last in
        memory. [R, C, S, S]. The gradient reaches the features, the boxes and the shifts; sample counts and
        levels are constants.
    """
    bins = output_size
    channels = table.rows.shape[1]
    if len(boxes) == 0:
        nothing = table.rows[:0].sum() + boxes.sum() + (0 if shifts is None else shifts.sum())
        empty = table.rows.new_zeros((0, bins, bins, channels)) + nothing
        return empty.to(table.dtype or empty.dtype).permute(0, 3, 1, 2)
    strides = constant(table.strides, boxes.device, boxes.dtype)[levels]
    scaled = boxes / strides[:, None] - (0.5 if aligned else 0.0)
    if not aligned:
        scaled = torch.cat((scaled[:, :2], torch.maximum(scaled[:, 2:], scaled[:, :2] + 1)), dim=1)
    size = table.sizes[levels]  # [R, 2]
    base = table.starts[levels] + image_index * size[:, 0] * size[:, 1]
    if sampling_ratio > 0:
        samples = (sampling_ratio, sampling_ratio)
        rows, weights = _bags(scaled, base, size, bins, samples, shifts=shifts)
        pooled = weighted_bags(table.rows, rows, weights, dtype=table.dtype)
    else:
        pooled = _adaptive(table, scaled, base, size, bins, shifts=shifts)
        pooled = pooled.to(table.dtype or pooled.dtype)
    return pooled.view(len(boxes), bins, bins, channels).permute(0, 3, 1, 2)


def _adaptive(
    table: FeatureTable, scaled: Tensor, base: Tensor, size: Tensor, bins: int, *, shifts: Tensor | None
) -> Tensor:
    """Pool with ceil(size / S) samples per bin and axis: RoIs of equal counts together, one bag call."""
    extent = (scaled[:, 2:] - scaled[:, :2]).detach()
    counts = torch.ceil(extent / bins).clamp(min=0).long()  # [R, 2] as (x, y)
    groups, member = torch.unique(counts, dim=0, return_inverse=True)
    order, rows, weights, widths = [], [], [], []
    for group, (sx, sy) in enumerate(groups.tolist()):
        index = torch.nonzero(member == group)[:, 0]
        # An empty box has no sample; one sample of weight 0 gives the same zeros
        samples = (max(sy, 1), max(sx, 1))
        moves = None if shifts is None else shifts[index]
        r, w = _bags(scaled[index], base[index], size[index], bins, samples, shifts=moves)
        order.append(index)
        rows.append(r.reshape(-1))
        weights.append(w.reshape(-1) * (sx > 0 and sy > 0))
        widths.append(rows[-1].new_full((len(index) * bins * bins,), r.shape[1]))
    width = torch.cat(widths)
    pooled = weighted_bags(table.rows, torch.cat(rows), torch.cat(weights), width.cumsum(0) - width)
    pooled = pooled.view(len(scaled), -1)
    return torch.empty_like(pooled).index_copy(0, torch.cat(order), pooled)


def cells_of(boxes: Tensor, strides: Tensor, *, nearest: bool = False) -> Tensor:
    """Return the (row, column) of the cell that holds each box's centre, int64.

    Args:
        boxes: [R, 4]
        strides: Pixels per cell. [R, 1]
        nearest: Return the cell whose corner, its number times the stride, is nearest to the centre instead.

    Returns:
        [R, 2]
    """
    center = (boxes[..., :2] + boxes[..., 2:]) * (0.5 / strides)
    return (center + 0.5 if nearest else center).floor().long().flip(-1)


__all__ = ["FeatureTable", "assign_levels", "cells_of", "roi_align"]
