"""oracle_parts.py COMMAND ...: `dprd COMMAND ...` with parts that know the objects, in training and at test.

Each reference part of a RoI that overlaps an object (IoU of 0.5 or more) becomes the tight box of the
object's visible pixels within it; sigma still holds. Nothing is learned about the parts: the ground truth
moves them. No detector may do that. It measures what parts that follow their objects' poses could be worth at
most, with the assembly as it is and on the data given (docs/evidence-not-reproduced.md). Give the study an
output folder of its own: runs are reused by their configuration, which does not tell these from learned ones.

    python scripts/oracle_parts.py ablate docs/studies/oracle-parts.toml --out runs/oracle ...
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.cli import main
from dprd_cli.config.model_schema import ModelConfig
from dprd_cli.errors import UsageError
from dprd_cli.model.build import PARTS
from dprd_cli.model.parts import FixedParts, Parts, PartSource, reference_parts, undo_far_moves
from dprd_cli.model.rois import RoIFeatures, RoIs

FOLLOWS = 0.5  # least IoU of a RoI with an object whose pixels its parts follow


def tighten(part: Tensor, mask: Tensor) -> Tensor:
    """Return the tight box of a mask [H, W] within a part box [4]; where there is no pixel, the part box."""
    x0, y0 = part[:2].floor().int().tolist()
    x1, y1 = part[2:].ceil().int().tolist()
    inside = mask[y0:y1, x0:x1]
    columns, rows = inside.any(dim=0).nonzero(), inside.any(dim=1).nonzero()
    if not len(columns):
        return part
    tight = part.new_tensor(
        [x0 + columns[0].item(), y0 + rows[0].item(), x0 + columns[-1].item() + 1, y0 + rows[-1].item() + 1]
    )
    low, high = torch.maximum(tight[:2], part[:2]), torch.minimum(tight[2:], part[2:])
    return torch.cat((low, high)) if bool((high > low).all()) else part


class OracleParts(FixedParts):
    """Parts that follow the objects of the images that they are given; where none are given, reference parts.

    Args:
        count: P.
        sigma: See `undo_far_moves`.
    """

    needs_targets = True

    def __init__(self, count: int, sigma: float) -> None:
        super().__init__(count)
        self.sigma = sigma

    @torch.no_grad()
    def forward(self, rois: RoIs, features: RoIFeatures, labels: Tensor | None = None) -> Parts:
        """Return the parts of RoIs, whatever their labels [R] are; see `PartSource`."""
        del labels
        reference = reference_parts(rois, features, self.count).boxes
        moved = reference.clone()
        for number, target in enumerate(features.targets or []):
            chosen = (rois.image_index == number).nonzero()[:, 0]
            if not len(target) or target.masks is None or not len(chosen):
                continue
            overlap, best = box_iou(rois.boxes[chosen], target.boxes).max(dim=1)
            near = overlap >= FOLLOWS
            for roi, which in zip(chosen[near].tolist(), best[near].tolist(), strict=True):
                for part in range(self.count):
                    moved[roi, part] = tighten(reference[roi, part], target.masks[which])
        return undo_far_moves(reference, moved, self.sigma)

    def by_mean(self) -> PartSource:
        """Raise `UsageError`."""
        raise UsageError("the objects move these parts: there are no mean part offsets")


def oracle_parts(config: ModelConfig, num_classes: int) -> PartSource:
    """Return the parts of a network with deformable ones."""
    del num_classes
    return OracleParts(config.parts.count, config.parts.sigma)


def install() -> None:
    """Let networks with deformable parts be built with parts that the ground truth moves."""
    PARTS["deformable"] = oracle_parts


if __name__ == "__main__":
    install()
    main()
