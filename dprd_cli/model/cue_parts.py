"""An oracle's parts: at the cues that the data tells of, to measure what parts could be worth."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.errors import UsageError
from dprd_cli.model.parts import FixedParts, Parts, PartSource, reference_parts
from dprd_cli.model.rois import RoIFeatures, RoIs
from dprd_cli.ops.boxes import clip_boxes, paired_iou

#: Least IoU of a RoI with an object whose cue its parts go to.
FOLLOWS = 0.3
#: Side of a part at a cue, in sizes of the object.
SIDE = 0.5


class CueParts(FixedParts):
    """Parts that all lie at the cue of the object that a RoI is about; elsewhere reference parts.

    Nothing is learned of them, and no detector may know the objects: images without targets get reference
    parts.

    Args:
        count: P.
    """

    needs_targets = True

    @torch.no_grad()
    def forward(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the parts of RoIs, whatever their labels [R] are; see `PartSource`."""
        del labels
        parts = reference_parts(rois, features, self.count)
        boxes = parts.boxes.clone()
        for number, target in enumerate(features.targets or []):
            chosen = torch.nonzero(rois.image_index == number)[:, 0]
            if target.cues is None or not len(target) or not len(chosen):
                continue
            overlap, best = box_iou(rois.boxes[chosen], target.boxes).max(dim=1)
            chosen, best = chosen[overlap >= FOLLOWS], best[overlap >= FOLLOWS]
            size = (target.boxes[best, 2:] - target.boxes[best, :2]).mean(dim=1, keepdim=True)
            cues = target.cues[best]
            at_cues = torch.cat((cues - 0.5 * SIDE * size, cues + 0.5 * SIDE * size), dim=1)
            at_cues = clip_boxes(at_cues, features.image_sizes[rois.image_index[chosen]])
            inside = (at_cues[:, 2:] > at_cues[:, :2]).all(dim=1)
            boxes[chosen[inside]] = at_cues[inside][:, None]
        return Parts(boxes, paired_iou(boxes, parts.boxes), parts.fallback)

    def by_mean(self) -> PartSource:
        """Raise `UsageError`."""
        raise UsageError("the objects move these parts: there are no mean part offsets")
