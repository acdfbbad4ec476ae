"""Regions of interest, what they are cut from, and their pooling."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dprd_cli.model.pooling import FeatureTable, assign_levels, roi_align


class RoIs(NamedTuple):
    """Regions of all pictures of a batch together.

    Args:
        boxes: No gradient. [R, 4]
        image_index: Picture of each RoI, int64. [R]
        sources: Where the part offsets come from, see `DeformableParts.forward`. [R, 2]
        labels: Class of the matched object, K for background (training only). [R]
        gt_index: The matched object, counted through all pictures of the batch (training only). [R]
    """

    boxes: Tensor
    image_index: Tensor
    sources: Tensor
    labels: Tensor
    gt_index: Tensor

    def select(self, index: Tensor) -> RoIs:
        """Return the RoIs that a mask or index tensor selects."""
        return RoIs(*(value[index] for value in self))


class Locate(Protocol):
    """Signature of `Anchors.locate`."""

    def __call__(self, boxes: Tensor, image_index: Tensor, table: FeatureTable) -> Tensor:
        """Map boxes [R, 4] and their pictures [R] to sources [R, 2]."""
        ...


class Scene(NamedTuple):
    """What all stages look at.

    Args:
        table: P2..P5 of the batch.
        hidden: The RPN's hidden features.
        limits: (height, width) of each picture. [N, 2]
        locate: Finds the source of boxes that came from no anchor.
    """

    table: FeatureTable
    hidden: FeatureTable
    limits: Tensor
    locate: Locate


class RegionPooler(nn.Module):
    """Pools whole and part features of RoIs.

    Args:
        strides: Strides of the levels that are pooled from, P2..P5.
        sampling_ratio: RoIAlign samples per bin and axis; 0 adapts to the box.
        part_level: `own` (each part by its own area) or `whole` (the whole box's level).
        canonical_size: Side of a box that is pooled from P4, pixels.
        aligned: See `roi_align`.
        level_eps: See `assign_levels`.
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
    ) -> None:
        super().__init__()
        self.canonical_size = canonical_size
        self.aligned, self.level_eps = aligned, level_eps
        self.strides, self.sampling_ratio, self.part_level = strides, sampling_ratio, part_level

    def forward(
        self, rois: RoIs, part_boxes: Tensor | None, scene: Scene, size: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pool whole and part features in one call. Returns [R, C, S, S] and [R, P, C, S, S] (or None)."""
        boxes, image_index = rois.boxes, rois.image_index
        levels = self.levels(boxes)
        if part_boxes is None:
            return self._pool(scene, boxes, image_index, levels, size), None
        count = part_boxes.shape[1]
        by_part = part_boxes.transpose(0, 1)  # [P, R, 4]: each part's features lie together in memory
        own = self.part_level == "own"
        part_levels = self.levels(by_part.detach()) if own else levels.expand(count, -1)
        pooled = self._pool(
            scene,
            torch.cat((boxes, by_part.reshape(-1, 4))),
            image_index.repeat(count + 1),
            torch.cat((levels, part_levels.reshape(-1))),
            size,
        )
        whole, parts = torch.split(pooled, [len(boxes), count * len(boxes)])
        return whole, parts.view(count, len(boxes), *parts.shape[1:]).transpose(0, 1)

    def _pool(self, scene: Scene, boxes: Tensor, image_index: Tensor, levels: Tensor, size: int) -> Tensor:
        return roi_align(scene.table, boxes, image_index, levels, size, self.sampling_ratio, self.aligned)

    def levels(self, boxes: Tensor) -> Tensor:
        """Return the level that each box [..., 4] is pooled from, 0 for P2. [...]."""
        return assign_levels(boxes, len(self.strides), self.canonical_size, self.level_eps)
