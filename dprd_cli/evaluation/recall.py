"""How many objects the proposals reach: the measure that shows a region proposal network being harmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.evaluation.metric import DetectionRecord


class ProposalRecall:
    """Recall of the first `limit` proposals of each image, over all images.

    An object is found at an IoU if any of these proposals reaches it.

    Args:
        ious: IoUs at which to count.
        limit: Proposals per image that count.
    """

    def __init__(self, ious: tuple[float, ...] = (0.5, 0.7), limit: int = 100) -> None:
        self.ious = ious
        self.limit = limit
        self._best: list[Tensor] = []

    def add(self, proposals: Tensor, gt_boxes: Tensor) -> None:
        """Count one image; both in the same frame.

        Args:
            proposals: xyxy, best first. [R, 4]
            gt_boxes: xyxy, crowds left out. [G, 4]
        """
        self.add_best(self.best(proposals, gt_boxes))

    def best(self, proposals: Tensor, gt_boxes: Tensor) -> Tensor | None:
        """Return what `add_best` takes: the best IoU of each object of one image. [G], on the CPU."""
        if not len(gt_boxes):
            return None
        first = proposals[: self.limit].detach()
        overlaps = box_iou(gt_boxes.to(first).float(), first.float())  # [G, R]
        best: Tensor = overlaps.max(dim=1).values if len(first) else overlaps.new_zeros(len(gt_boxes))
        return best.cpu()

    def add_best(self, best: Tensor | None) -> None:
        """Do what `add` does, with one image's IoUs [G] or None, perhaps of another process."""
        if best is not None:
            self._best.append(best)

    def result(self) -> dict[str, float | None]:
        """Return `{"recall50": ..., "recall70": ...}` as fractions 0..1, None where there was no object."""
        best = torch.cat(self._best) if self._best else torch.zeros(0)
        return {
            f"recall{round(100 * iou)}": (best >= iou).double().mean().item() if len(best) else None
            for iou in self.ious
        }


class RecallMetric:
    """`recall50` and `recall70` of the proposals, as fractions; see `ProposalRecall`."""

    def of(self, record: DetectionRecord) -> Tensor | None:
        """Return the best IoU of each object of one image [G]; None without objects or proposals."""
        if record.proposals is None:
            return None
        return ProposalRecall().best(record.proposals, record.target.boxes)

    def result(self, images: Sequence[Tensor | None]) -> Mapping[str, float | None]:
        """Return the two shares, of what `of` returned for each image ([G] each)."""
        recall = ProposalRecall()
        for best in images:
            recall.add_best(best)
        return recall.result()
