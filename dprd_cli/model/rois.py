"""Regions of interest, what they are cut from, and their pooling."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dprd_cli.model.layers import FullLinear
from dprd_cli.model.positions import PartPositions
from dprd_cli.ops.roi_align import FeatureTable, assign_levels, roi_align
from dprd_cli.structures.detections import Target


class RoIs(NamedTuple):
    """Regions of all images of a batch together.

    Args:
        boxes: No gradient. [R, 4]
        image_index: Image of each RoI, int64. [R]
        anchor_index: (row, anchor) in the RPN's hidden feature that part offsets are read at, int64; valid
            for that one batch. [R, 2]
    """

    boxes: Tensor
    image_index: Tensor
    anchor_index: Tensor

    @classmethod
    def of_images(cls, boxes: list[Tensor], anchor_index: list[Tensor]) -> RoIs:
        """Return boxes N x [R, 4] and their anchors N x [R, 2], image after image, as RoIs of the batch."""
        counts = torch.tensor([len(one) for one in boxes], device=boxes[0].device)
        image = torch.repeat_interleave(torch.arange(len(boxes), device=counts.device), counts)
        return cls(torch.cat(boxes), image, torch.cat(anchor_index))

    def select(self, index: Tensor) -> RoIs:
        """Return the RoIs that a mask [R] or an index tensor selects."""
        return RoIs(*(value[index] for value in self))


class LabeledRoIs(NamedTuple):
    """RoIs in training, and the objects that they stand for.

    Args:
        rois: Where they are. [R]
        labels: Class of the matched object, K for background, int64. [R]
        gt_index: The matched object, counted through all images of the batch, int64. [R]
    """

    rois: RoIs
    labels: Tensor
    gt_index: Tensor

    def select(self, index: Tensor) -> LabeledRoIs:
        """Return the RoIs that a mask [R] or an index tensor selects."""
        return LabeledRoIs(self.rois.select(index), self.labels[index], self.gt_index[index])


class Locate(Protocol):
    """Signature of `Anchors.locate`."""

    def __call__(self, boxes: Tensor, image_index: Tensor, table: FeatureTable) -> Tensor:
        """Map boxes [R, 4] and the images [R] that they lie in to `RoIs.anchor_index` [R, 2]."""
        ...


class RoIFeatures(NamedTuple):
    """What the stages pool from RoIs, and what part offsets are predicted from.

    Args:
        pyramid: P2..P5 of the batch.
        hidden: What the part layer reads: the RPN's hidden features, or the pyramid (`RPN.read_by_parts`).
        image_sizes: (height, width) of each image. [N, 2]
        locate: Finds the anchor of boxes that came from none.
        targets: Objects of each image, for parts that look at them: in training, and in evaluation where
            `PartSource.needs_targets`; None otherwise.
        progress: Share of the training that is done, 0..1, for parts whose loss changes on the way.
    """

    pyramid: FeatureTable
    hidden: FeatureTable
    image_sizes: Tensor
    locate: Locate
    targets: list[Target] | None = None
    progress: float = 0.0

    def find_anchors(self, boxes: Tensor, image_index: Tensor) -> Tensor:
        """Return the `RoIs.anchor_index` [R, 2] of boxes [R, 4] of no anchor, in images [R] of the batch."""
        return self.locate(boxes, image_index, self.hidden)

    def sizes_of(self, rois: RoIs) -> Tensor:
        """Return the (height, width) of the image of each RoI. [R, 2]."""
        return self.image_sizes[rois.image_index]


class RegionPooler(nn.Module):
    """Pools whole and part features of RoIs.

    Args:
        strides: Strides of the levels that are pooled from, P2..P5.
        sampling_ratio: RoIAlign samples per bin and axis; 0 adapts to the box.
        part_level: `own` (each part by its own area) or `whole` (the whole box's level).
        canonical_size: Side of a box that is pooled from P4, pixels.
        aligned: See `roi_align`.
        level_eps: See `assign_levels`.
        positions: Tells part features where they are from, or None; registered with the heads.
    """

    def __init__(
        self,
        strides: tuple[int, ...],
        sampling_ratio: int,
        part_level: str,
        canonical_size: float,
        *,
        aligned: bool = True,
        level_eps: float = 1e-8,
        positions: PartPositions | None = None,
    ) -> None:
        super().__init__()
        self._positions = (positions,)  # in a tuple, so that it is not registered here: many share a pooler
        self.canonical_size = canonical_size
        self.aligned, self.level_eps = aligned, level_eps
        self.strides, self.sampling_ratio, self.part_level = strides, sampling_ratio, part_level

    @property
    def positions(self) -> PartPositions | None:
        """What tells part features where they are from."""
        return self._positions[0]

    def forward(
        self, rois: RoIs, part_boxes: Tensor | None, features: RoIFeatures, size: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pool whole and part features in one call. Returns [R, C, S, S] and [R, P, C, S, S] (or None)."""
        if part_boxes is None:
            return self.pool_whole(rois, features, size), None
        num, count = rois.boxes.shape[0], part_boxes.shape[1]  # not len(): torch.export keeps it a symbol
        by_part = part_boxes.transpose(0, 1)  # [P, R, 4]: each part's features lie together in memory
        boxes = torch.cat((rois.boxes, by_part.reshape(-1, 4)))
        own = self.part_level == "own"
        levels = self.levels(boxes.detach()) if own else self.levels(rois.boxes).repeat(count + 1)
        pooled = self.pool(features, boxes, rois.image_index.repeat(count + 1), levels, size)
        whole, parts = torch.split(pooled, [num, count * num])
        parts = parts.view(count, num, *parts.shape[1:])
        if self.positions is not None:
            parts = self.positions(rois.boxes, by_part, parts)
        return whole, parts.transpose(0, 1)

    def pool_whole(
        self, rois: RoIs, features: RoIFeatures, size: int, shifts: Tensor | None = None
    ) -> Tensor:
        """Pool whole features, each bin moved by `shifts` [R, S, S, 2], see `roi_align`. [R, C, S, S]."""
        return self.pool(features, rois.boxes, rois.image_index, self.levels(rois.boxes), size, shifts=shifts)

    def pool(
        self,
        features: RoIFeatures,
        boxes: Tensor,
        image_index: Tensor,
        levels: Tensor,
        size: int,
        *,
        shifts: Tensor | None = None,
    ) -> Tensor:
        """Pool a feature of `size` x `size` bins from each box.

        Args:
            features: Features of the batch.
            boxes: [R, 4]
            image_index: Image of each box, int64. [R]
            levels: Level that each box is pooled from, 0 for P2, int64. [R]
            size: S.
            shifts: See `roi_align`. [R, S, S, 2]

        Returns:
            [R, C, S, S]
        """
        return roi_align(
            features.pyramid,
            boxes,
            image_index,
            levels,
            size,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
            shifts=shifts,
        )

    def levels(self, boxes: Tensor) -> Tensor:
        """Return the level that each box [..., 4] is pooled from, 0 for P2. [...]."""
        return assign_levels(boxes, len(self.strides), self.canonical_size, self.level_eps)


class DeformablePooler(nn.Module):
    """Deformable RoI pooling: the bins of the whole feature shift, and keep their size.

    The plainly pooled feature says where the bins go: a fully connected layer gives each a (dx, dy), which
    gamma times the box's width and height turn into pixels; then the box is pooled again.

    Args:
        pooler: Pools with and without shifts.
        channels: C.
        size: S.
        gamma: Shift of a layer's output of 1, in units of the box's size.

    Source: Dai et al. 2017, "Deformable RoI Pooling", Eq. 5; the "DPM" row of Table 2. Reading: the bins are
    RoIAlign's, where theirs average whole cells; the layer starts at zero, as theirs, so that training starts
    from RoIAlign.
    """

    def __init__(self, pooler: RegionPooler, channels: int, size: int, gamma: float = 0.1) -> None:
        super().__init__()
        self.pooler, self.gamma = pooler, gamma
        self.layer = FullLinear(channels * size * size, 2 * size * size)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(
        self, rois: RoIs, part_boxes: Tensor | None, features: RoIFeatures, size: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pool whole features; there are no parts. Returns [R, C, S, S] and None."""
        del part_boxes
        shifts = self.shifts(self.pooler.pool_whole(rois, features, size))
        return self.pooler.pool_whole(rois, features, size, shifts), None

    def shifts(self, plain: Tensor) -> Tensor:
        """Return (dx, dy) of each bin, in units of the box's size, from [R, C, S, S]. [R, S, S, 2]."""
        side = plain.shape[-1]
        moves: Tensor = self.layer(plain.flatten(1)).view(-1, side, side, 2)
        return self.gamma * moves
