"""How many objects the proposals reach: the measure that shows a region proposal network being harmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.evaluation.metric import DetectionRecord


class ProposalRecall:
    """`recall50` and `recall70`: share of the objects that an image's first `limit` proposals find.

    An object is found at an IoU if any of these proposals reaches it.

    Args:
        ious: IoUs at which to count.
        limit: Proposals per image that count.
    """

    def __init__(self, ious: tuple[float, ...] = (0.5, 0.7), limit: int = 100) -> None:
        self.ious = ious
        self.limit = limit

    def of(self, record: DetectionRecord) -> Tensor | None:
        """Return the best IoU of each object of one image [G]; None without objects or proposals."""
        return None if record.proposals is None else self.best(record.proposals, record.target.boxes)

    def best(self, proposals: Tensor, gt_boxes: Tensor) -> Tensor | None:
        """Return the best IoU of each object of one image, on the CPU [G]; None without objects.

        Args:
            proposals: xyxy, best first. [R, 4]
            gt_boxes: xyxy in the same frame, crowds left out. [G, 4]
        """
        if not len(gt_boxes):
            return None
        first = proposals[: self.limit].detach()
        overlaps = box_iou(gt_boxes.to(first).float(), first.float())  # [G, R]
        best: Tensor = overlaps.max(dim=1).values if len(first) else overlaps.new_zeros(len(gt_boxes))
        return best.cpu()

    def result(self, images: Sequence[Tensor | None]) -> Mapping[str, float | None]:
        """Return the shares by key as fractions 0..1, None where there was no object.

        Args:
            images: What `of` returned for each. [G] each
        """
        known = [best for best in images if best is not None]
        best = torch.cat(known) if known else torch.zeros(0)
        return {
            f"recall{round(100 * iou)}": (best >= iou).double().mean().item() if len(best) else None
            for iou in self.ious
        }
