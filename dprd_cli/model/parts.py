"""Part boxes: reference decomposition and the deformable part region network (DPR-Net).

Source: "Preliminaries of D-PRD" and "Deformable Part Region Network", Eq. 2, Figs. 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dprd_cli.errors import UsageError
from dprd_cli.model.layers import scale_gradient
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.ops.boxes import MAX_LOG_SCALE, clip_boxes, paired_iou
from dprd_cli.ops.constants import constant
from dprd_cli.ops.precision import full_linear

_HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0))
_QUADRANTS = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0))
_COLUMNS = tuple((i / 4, 0.0, (i + 1) / 4, 1.0) for i in range(4))
_ROWS = tuple((0.0, i / 4, 1.0, (i + 1) / 4) for i in range(4))

#: How `Detector.with_part_offsets` can place parts.
PART_OFFSETS = ("learned", "mean", "reference")
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
    unit = constant(UNIT_PARTS[count], boxes.device, boxes.dtype)
    size = (boxes[..., 2:] - boxes[..., :2]).repeat(*(1,) * (boxes.ndim - 1), 2)
    corner = boxes[..., :2].repeat(*(1,) * (boxes.ndim - 1), 2)
    return corner[..., None, :] + unit * size[..., None, :]


class Parts(NamedTuple):
    """Part boxes of RoIs.

    Args:
        boxes: xyxy in pixels; the gradient reaches the offsets that moved them. [R, P, 4]
        iou: IoU of each part box with its reference part, no gradient. [R, P]
        fallback: Parts that went back to their reference by the sigma rule, bool. [R, P]
        losses: What placing parts adds to a stage's, `loss_<kind>` to scalar []; the same kinds for any RoIs.
        diagnostics: Scalars [] without gradient, for the log.
    """

    boxes: Tensor
    iou: Tensor
    fallback: Tensor
    losses: Mapping[str, Tensor] = MappingProxyType({})
    diagnostics: Mapping[str, Tensor] = MappingProxyType({})


def move_parts(reference: Tensor, offsets: Tensor) -> Tensor:
    """Move and scale part boxes: x^ = x + dx w, y^ = y + dy h, w^ = w exp(dw), h^ = h exp(dh).

    Written in corners, so that zero offsets return the reference to the last bit.

    Args:
        reference: [..., 4]
        offsets: (dx, dy, dw, dh); dw and dh are clamped at log(1000/16). [..., 4]

    Returns:
        [..., 4]

    Source: Eq. 2.
    """
    size = reference[..., 2:] - reference[..., :2]
    shift = offsets[..., :2]
    growth = 0.5 * torch.expm1(offsets[..., 2:].clamp(max=MAX_LOG_SCALE))
    return reference + torch.cat(((shift - growth) * size, (shift + growth) * size), dim=-1)


def undo_far_moves(
    reference: Tensor, moved: Tensor, sigma: float, *, straight_through: bool = False
) -> Parts:
    """Put moved parts back that went too far from their reference: the sigma rule.

    Args:
        reference: Reference parts. [R, P, 4]
        moved: Where they went, inside the image. [R, P, 4]
        sigma: A part whose IoU with its reference is below this, or that is empty, becomes the reference.
        straight_through: Pass the moved part's gradient where the reference is used.

    Source: the paragraph after Eq. 2; Fig. 4. Reading: the paper's fallback has no gradient, so a part beyond
    sigma is stuck until its proposal changes; `straight_through` is the other choice.
    """
    iou = paired_iou(moved.detach(), reference)
    size = (moved[..., 2:] - moved[..., :2]).detach()
    fallback = (iou < sigma) | (size <= 0).any(dim=-1)
    kept = reference + (moved - moved.detach()) if straight_through else reference
    boxes = torch.where(fallback[..., None], kept, moved)
    return Parts(boxes, torch.where(fallback, torch.ones_like(iou), iou), fallback)


def deform(
    reference: Tensor, offsets: Tensor, image_sizes: Tensor, sigma: float, *, straight_through: bool = False
) -> Parts:
    """Move reference parts by their offsets, clip them, and undo what went too far.

    Args:
        reference: Reference parts. [R, P, 4]
        offsets: (dx, dy, dw, dh) in units of the part's own size. [R, P, 4]
        image_sizes: (height, width) of each RoI's image. [R, 2]
        sigma: See `undo_far_moves`.
        straight_through: See `undo_far_moves`.

    Source: Eq. 2 and the paragraph after it; Fig. 4.
    """
    moved = clip_boxes(move_parts(reference, offsets), image_sizes[:, None])
    return undo_far_moves(reference, moved, sigma, straight_through=straight_through)


class PartSource(Protocol):
    """What turns RoIs into part boxes: all that the rest of the network knows of parts.

    A variant is an `nn.Module` with these members; `build.PARTS` makes it.
    """

    @property
    def count(self) -> int:
        """P."""
        ...

    @property
    def layer(self) -> nn.Module | None:
        """What is learned to move parts, with a learning rate and clipping of its own; None: nothing."""
        ...

    @property
    def place_parameters(self) -> list[nn.Parameter]:
        """What is learned to choose places, with a learning rate and clipping apart from the layer's."""
        ...

    @property
    def needs_targets(self) -> bool:
        """Whether evaluation has to fill `RoIFeatures.targets`. No detector may say so, but an oracle."""
        ...

    @property
    def running_means(self) -> list[tuple[Tensor, float]]:
        """Buffers [...] that `track` moves toward a batch's mean, and their momentum."""
        ...

    def __call__(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the parts of RoIs.

        Args:
            rois: RoIs of all images of the batch.
            features: Features of the batch.
            labels: Class of each RoI's object, K for background; in training, where `losses` are taken. [R]
        """
        ...

    def track(self, rois: RoIs, features: RoIFeatures) -> None:
        """Move the running means toward those of a training batch's foreground RoIs, once a pass."""
        ...

    def by_mean(self) -> PartSource:
        """Return parts that move by the same running mean for all RoIs.

        Raises:
            UsageError: If parts do not move.
        """
        ...


def reference_parts(rois: RoIs, features: RoIFeatures, count: int) -> Parts:
    """Return the parts of RoIs where they lie before anything moves them; `count` is P."""
    reference = clip_boxes(decompose(rois.boxes, count), features.sizes_of(rois)[:, None])
    ones = reference.new_ones(reference.shape[:2])
    return Parts(reference, ones, torch.zeros_like(ones, dtype=torch.bool))


class FixedParts(nn.Module):
    """Reference parts that never move (Table 1 "Fixed", D1 and D2 of Table 2).

    Args:
        count: P.
    """

    layer = None
    needs_targets = False

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @property
    def place_parameters(self) -> list[nn.Parameter]:
        """Nothing."""
        return []

    @property
    def running_means(self) -> list[tuple[Tensor, float]]:
        """No buffers [...]."""
        return []

    def forward(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the reference parts, whatever the features and labels [R] are."""
        del labels
        return reference_parts(rois, features, self.count)

    def track(self, rois: RoIs, features: RoIFeatures) -> None:
        """Do nothing."""

    def by_mean(self) -> PartSource:
        """Raise `UsageError`."""
        raise UsageError("no parts that move, and so no mean part offsets (model.parts.mode)")


class MeanParts(FixedParts):
    """Parts that all move by the same offsets.

    Args:
        offsets: (dx, dy, dw, dh) of each part, in units of its own size. [P, 4]
        sigma: See `deform`.
    """

    offsets: Tensor

    def __init__(self, offsets: Tensor, sigma: float) -> None:
        super().__init__(len(offsets))
        self.sigma = sigma
        self.register_buffer("offsets", offsets)

    def forward(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the moved parts, whatever the features and labels [R] are."""
        del labels
        reference = reference_parts(rois, features, self.count).boxes
        return deform(reference, self.offsets.expand_as(reference), features.sizes_of(rois), self.sigma)


class DeformableParts(nn.Module):
    """DPR-Net: the part box transformation layer and the part box generation of Fig. 2.

    The layer is a 1x1 convolution beside the RPN's objectness and box layers, or on the pyramid
    (`RPN.read_by_parts`). It is evaluated at the cells of the RoIs only, which gives the same numbers as the
    whole map at a fraction of its cost.

    Args:
        count: P.
        in_channels: Channels of what it reads.
        num_anchors: A.
        sigma: See `deform`.
        feature_grad_scale: Factor on the gradient into what it reads.
        straight_through: See `deform`.

    Attributes:
        mean_offsets: Running mean of the offsets over object RoIs. [P, 4]

    Source: Eq. 2. Reading: zero-initialised, so that training starts from the reference parts.
    """

    needs_targets = False
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

    @property
    def place_parameters(self) -> list[nn.Parameter]:
        """Nothing."""
        return []

    @property
    def running_means(self) -> list[tuple[Tensor, float]]:
        """The mean offsets [P, 4]."""
        return [(self.mean_offsets, MEAN_MOMENTUM)]

    def offsets(self, anchor_index: Tensor, rows: Tensor) -> Tensor:
        """Return the raw offsets of RoIs.

        Args:
            anchor_index: (row, anchor) that each RoI takes its offsets from, int64. [R, 2]
            rows: What the layer reads, a row a cell. [cells, C]

        Returns:
            (dx, dy, dw, dh) in units of each part's own size. [R, P, 4]
        """
        cells = scale_gradient(rows[anchor_index[:, 0]], self.feature_grad_scale)
        out = full_linear(cells, self.layer.weight.flatten(1), self.layer.bias)
        out = out.view(-1, self.num_anchors, self.count, 4)
        return out[torch.arange(out.shape[0], device=out.device), anchor_index[:, 1]]

    def forward(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the part boxes of RoIs, whatever their labels [R] are; see `PartSource`."""
        del labels
        reference = reference_parts(rois, features, self.count).boxes
        return deform(
            reference,
            self.offsets(rois.anchor_index, features.hidden.rows),
            features.sizes_of(rois),
            self.sigma,
            straight_through=self.straight_through,
        )

    @torch.no_grad()
    def track(self, rois: RoIs, features: RoIFeatures) -> None:
        """Move `mean_offsets` toward the mean offsets of the given (foreground) RoIs."""
        if len(rois.boxes):
            offsets = self.offsets(rois.anchor_index, features.hidden.rows)
            self.mean_offsets.lerp_(offsets.mean(dim=0), MEAN_MOMENTUM)

    def by_mean(self) -> PartSource:
        """Return parts that move by `mean_offsets`, as they are at each call."""
        return MeanParts(self.mean_offsets, self.sigma)
