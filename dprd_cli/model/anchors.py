"""Anchor boxes of a pyramid, and which of them stands for a box.

Source: Faster R-CNN (Ren et al. 2015) as in FPN (Lin et al. 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dprd_cli.ops.boxes import paired_iou
from dprd_cli.ops.constants import constant
from dprd_cli.ops.roi_align import FeatureTable, cells_of


class Anchors(nn.Module):
    """Anchor boxes of a pyramid: one size per level, the same aspect ratios everywhere.

    Args:
        sizes: Square root of the anchor area on each level, pixels. [L]
        ratios: Height over width. [A]
        strides: Pixels per cell of each level. [L]
        rounded: Round the anchors' corners around the origin to whole pixels.
        fitted: Step by the padded image's size over the map's (floor) instead of the stride.
        lookup_cell: See `locate`.

    Attributes:
        base: Anchors around the origin, xyxy, pixels. [L, A, 4]
        log_sizes: Base-2 logarithms of the sizes. [L]
    """

    base: Tensor
    log_sizes: Tensor

    def __init__(
        self,
        sizes: tuple[float, ...],
        ratios: tuple[float, ...],
        strides: tuple[int, ...],
        *,
        rounded: bool = False,
        fitted: bool = False,
        lookup_cell: str = "nearest",
    ) -> None:
        super().__init__()
        self.strides, self.fitted = strides, fitted
        self.nearest = lookup_cell == "nearest"
        size = torch.tensor(sizes)[:, None]
        ratio = torch.tensor(ratios)[None]
        width = size / ratio.sqrt()
        height = width * ratio
        #: Anchors around the origin. [L, A, 4]
        base = 0.5 * torch.stack((-width, -height, width, height), dim=-1)
        self.register_buffer("base", base.round() if rounded else base, persistent=False)
        self.register_buffer("log_sizes", torch.tensor(sizes).log2(), persistent=False)

    def on(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors of every level, row by row.

        Args:
            maps: One map a level; their sizes are used. L x [N, C, H, W]

        Returns:
            L x [H*W*A, 4]
        """
        padded = [side * self.strides[0] for side in maps[0].shape[-2:]]
        anchors = []
        for level, (height, width) in enumerate(m.shape[-2:] for m in maps):
            fit = (padded[0] // height, padded[1] // width)
            anchors.append(self.at(level, height, width, fit if self.fitted else None))
        return anchors

    def at(self, level: int, height: int, width: int, steps: tuple[int, int] | None = None) -> Tensor:
        """Return the anchors of a level, row by row, `steps` (the stride) apart in y and x. [H*W*A, 4]."""
        step_y, step_x = steps or (self.strides[level],) * 2
        y = torch.arange(height, device=self.base.device) * step_y
        x = torch.arange(width, device=self.base.device) * step_x
        shift = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).repeat(1, 1, 2)  # [H, W, 4]
        return (shift[:, :, None] + self.base[level]).view(-1, 4)

    def locate(self, boxes: Tensor, image_index: Tensor, table: FeatureTable) -> Tensor:
        """Find the anchor that stands for each box that came from none (objects, refined boxes).

        Args:
            boxes: [R, 4]
            image_index: Image of each box. [R]
            table: Hidden-feature table of the same batch.

        Returns:
            (row of the table, anchor) of each, int64. [R, 2]

        Reading: level by the anchor size nearest to sqrt(area) in log2, the cell whose anchors stand nearest
        to the centre (`lookup_cell=floor`: the one up and left of it), the anchor of highest IoU with the box
        there. An anchor stands at its cell's number times the stride, not in the middle of the cell.
        """
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
        log_side = 0.5 * sides.log2().sum(dim=1)
        level = (log_side[:, None] - self.log_sizes).abs().argmin(dim=1)
        stride = constant(self.strides, boxes.device, boxes.dtype)[level, None]
        size = table.sizes[level]
        cell = cells_of(boxes, stride, nearest=self.nearest)  # [R, 2] row, column
        cell = torch.minimum(cell.clamp(min=0), size - 1)
        center = (cell.flip(-1) * stride).repeat(1, 2)
        anchor = paired_iou(center[:, None] + self.base[level], boxes[:, None]).argmax(dim=1)
        row = table.starts[level] + (image_index * size[:, 0] + cell[:, 0]) * size[:, 1] + cell[:, 1]
        return torch.stack((row, anchor), dim=1)
