"""Part boxes: reference decomposition and the deformable part region network (DPR-Net).

Source: "Preliminaries of D-PRD" and "Deformable Part Region Network", Eq. 2, Figs. 2 and 4.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dprd_cli.model.layers import scale_gradient
from dprd_cli.ops.boxes import MAX_LOG_SCALE, clip_boxes, paired_iou
from dprd_cli.ops.precision import full_precision

_HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0))
_QUADRANTS = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0))
_COLUMNS = tuple((i / 4, 0.0, (i + 1) / 4, 1.0) for i in range(4))
_ROWS = tuple((0.0, i / 4, 1.0, (i + 1) / 4) for i in range(4))

#: How far one step moves the mean offsets.
MEAN_MOMENTUM = 0.02
#: Parts of the unit box, xyxy, by part count.
UNIT_PARTS: dict[int, tuple[tuple[float, float, float, float], ...]] = {
    2: _HALVES[:2],
    4: _HALVES,
    8: _HALVES + _QUADRANTS,
    16: _HALVES + _QUADRANTS + _COLUMNS + _ROWS,
}


def decompose(boxes: Tensor, count: int) -> Tensor:
    """Return the reference parts of boxes.

    Args:
        boxes: [..., 4]
        count: P, one of 2, 4, 8, 16.

    Returns:
        [..., P, 4]; for P=4 in the order left, right, upper, bottom half.

    Source: Fig. 2. Reading: Table 3 gives only the counts; 2 is left and right, 8 adds the quadrants, 16
    adds four quarter-width and four quarter-height strips.
    """
    unit = boxes.new_tensor(UNIT_PARTS[count])
    size = (boxes[..., 2:] - boxes[..., :2]).repeat(*(1,) * (boxes.ndim - 1), 2)
    corner = boxes[..., :2].repeat(*(1,) * (boxes.ndim - 1), 2)
    return corner[..., None, :] + unit * size[..., None, :]


class Parts(NamedTuple):
    """Part boxes of RoIs.

    Args:
        boxes: xyxy in pixels; the gradient reaches the offsets that moved them. [R, P, 4]
        iou: IoU of each part box with its reference part, no gradient. [R, P]
        fallback: Parts that went back to their reference by the sigma rule, bool. [R, P]
    """

    boxes: Tensor
    iou: Tensor
    fallback: Tensor


def move_parts(reference: Tensor, offsets: Tensor) -> Tensor:
    """Move and scale part boxes: x^ = x + dx w, y^ = y + dy h, w^ = w exp(dw), h^ = h exp(dh).

    Written in corners, so that zero offsets return the reference to the last bit.

    Args:
        reference: [..., 4]
        offsets: (dx, dy, dw, dh); dw and dh are clamped at log(1000/16). [..., 4]

    Source: Eq. 2.
    """
    size = reference[..., 2:] - reference[..., :2]
    shift = offsets[..., :2]
    growth = 0.5 * torch.expm1(offsets[..., 2:].clamp(max=MAX_LOG_SCALE))
    return reference + torch.cat(((shift - growth) * size, (shift + growth) * size), dim=-1)


def deform(
    reference: Tensor, offsets: Tensor, image_sizes: Tensor, sigma: float, *, straight_through: bool = False
) -> Parts:
    """Move reference parts by their offsets, clip them, and undo what went too far.

    Args:
        reference: Reference parts. [R, P, 4]
        offsets: (dx, dy, dw, dh) in units of the part's own size. [R, P, 4]
        image_sizes: (height, width) of each RoI's image. [R, 2]
        sigma: A part whose IoU with its reference is below this, or that is empty, becomes the reference.
        straight_through: Pass the moved part's gradient where the reference is used.

    Source: Eq. 2 and the paragraph after it; Fig. 4. Reading: the paper's fallback has no gradient, so a
    part beyond sigma is stuck until its proposal changes; `straight_through` is the other choice.
    """
    moved = clip_boxes(move_parts(reference, offsets), image_sizes[:, None])
    iou = paired_iou(moved.detach(), reference)
    size = (moved[..., 2:] - moved[..., :2]).detach()
    fallback = (iou < sigma) | (size <= 0).any(dim=-1)
    kept = reference + (moved - moved.detach()) if straight_through else reference
    boxes = torch.where(fallback[..., None], kept, moved)
    return Parts(boxes, torch.where(fallback, torch.ones_like(iou), iou), fallback)


class PartBoxes(Protocol):
    """What turns RoIs into part boxes."""

    count: int

    def __call__(
        self, boxes: Tensor, anchor_index: Tensor, rows: Tensor, image_sizes: Tensor, mode: str
    ) -> Parts:
        """Return the parts of boxes [R, 4]; see `DeformableParts.forward`."""
        ...


class FixedParts(nn.Module):
    """Reference parts that never move (Table 1 "Fixed", D1 and D2 of Table 2).

    Args:
        count: P.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(
        self, boxes: Tensor, anchor_index: Tensor, rows: Tensor, image_sizes: Tensor, mode: str
    ) -> Parts:
        """Return the reference parts; everything but the boxes is ignored."""
        del anchor_index, rows, mode
        reference = clip_boxes(decompose(boxes, self.count), image_sizes[:, None])
        ones = reference.new_ones(reference.shape[:2])
        return Parts(reference, ones, torch.zeros_like(ones, dtype=torch.bool))


class DeformableParts(nn.Module):
    """DPR-Net: the part box transformation layer and the part box generation of Fig. 2.

    The layer is a 1x1 convolution beside the RPN's objectness and box layers. It is evaluated at the cells
    of the RoIs only, which gives the same numbers as the whole map at a fraction of its cost.

    Args:
        count: P.
        in_channels: Channels of the RPN's hidden feature.
        num_anchors: A.
        sigma: See `deform`.
        feature_grad_scale: Factor on the gradient into the RPN's hidden feature.
        straight_through: See `deform`.

    Source: Eq. 2. Reading: zero-initialised, so that training starts from the reference parts.
    """

    mean_offsets: Tensor

    def __init__(
        self,
        count: int,
        in_channels: int,
        num_anchors: int,
        *,
        sigma: float = 0.5,
        feature_grad_scale: float = 0.0,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        self.count, self.num_anchors = count, num_anchors
        self.sigma, self.feature_grad_scale, self.straight_through = (
            sigma,
            feature_grad_scale,
            straight_through,
        )
        self.layer = nn.Conv2d(in_channels, num_anchors * count * 4, kernel_size=1)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)  # type: ignore[arg-type]
        #: Running mean of the offsets of foreground RoIs, for `--part-offsets mean`. [P, 4]
        self.register_buffer("mean_offsets", torch.zeros(count, 4))

    def offsets(self, anchor_index: Tensor, rows: Tensor) -> Tensor:
        """Return the raw offsets (dx, dy, dw, dh) of RoIs. [R, P, 4]; see `forward`."""
        cells = scale_gradient(rows[anchor_index[:, 0]], self.feature_grad_scale)
        out = nn.functional.linear(cells, self.layer.weight.flatten(1), self.layer.bias)
        out = full_precision(out).view(-1, self.num_anchors, self.count, 4)
        return out[torch.arange(out.shape[0], device=out.device), anchor_index[:, 1]]

    def forward(
        self, boxes: Tensor, anchor_index: Tensor, rows: Tensor, image_sizes: Tensor, mode: str
    ) -> Parts:
        """Return the part boxes of RoIs.

        Args:
            boxes: [R, 4]
            anchor_index: (row, anchor) in the RPN's hidden feature that each RoI takes its offsets from,
                int64. [R, 2]
            rows: The RPN's hidden feature, a row a cell. [cells, C]
            image_sizes: (height, width) of each RoI's image. [R, 2]
            mode: `learned`, `mean` (the same mean offsets for every RoI) or `reference` (no offsets).
        """
        reference = clip_boxes(decompose(boxes, self.count), image_sizes[:, None])
        if mode == "learned":
            offsets = self.offsets(anchor_index, rows)
        else:
            offsets = (
                self.mean_offsets if mode == "mean" else torch.zeros_like(self.mean_offsets)
            ).expand_as(reference)
        return deform(reference, offsets, image_sizes, self.sigma, straight_through=self.straight_through)

    @torch.no_grad()
    def track_mean(self, anchor_index: Tensor, rows: Tensor, momentum: float = MEAN_MOMENTUM) -> None:
        """Move `mean_offsets` toward the mean offsets of the given (foreground) RoIs."""
        if len(anchor_index):
            self.mean_offsets.lerp_(self.offsets(anchor_index, rows).mean(dim=0), momentum)


__all__ = [
    "MEAN_MOMENTUM",
    "UNIT_PARTS",
    "DeformableParts",
    "FixedParts",
    "PartBoxes",
    "Parts",
    "decompose",
    "deform",
]
