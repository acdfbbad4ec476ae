"""oracle_parts.py COMMAND ...: `dprd COMMAND ...` with parts that know the objects, in training and at test.

Each reference part of a RoI that overlaps an object (IoU of 0.5 or more) becomes the tight box of the
object's visible pixels within it; sigma still holds. Nothing is learned about the parts: the ground truth
moves them. No detector may do that. It measures what parts that follow their objects' poses could be worth at
most, with the assembly as it is and on the data given (docs/evidence.md). Give the study an output folder of
its own: runs are reused by their configuration, which does not tell these from learned parts.

    python scripts/oracle_parts.py ablate docs/studies/oracle-parts.toml --out runs/oracle ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.cli import main
from dprd_cli.evaluation import evaluate
from dprd_cli.model.detector import Detector
from dprd_cli.model.parts import Parts, decompose
from dprd_cli.model.regions import RoIFeatures, RoIs
from dprd_cli.model.roi_heads import RoIHeads
from dprd_cli.ops.boxes import clip_boxes, paired_iou
from dprd_cli.structures.detections import Target

FOLLOWS = 0.5  # least IoU of a RoI with an object whose pixels its parts follow

_objects: list[Target] = []


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


@torch.no_grad()
def oracle_parts(boxes: Tensor, image_index: Tensor, image_sizes: Tensor, count: int, sigma: float) -> Parts:
    """Return the parts of RoIs [R, 4] that follow the objects of the present images."""
    reference = clip_boxes(decompose(boxes, count), image_sizes[:, None])
    moved = reference.clone()
    for number, target in enumerate(_objects):
        chosen = (image_index == number).nonzero()[:, 0]
        if not len(target) or target.masks is None or not len(chosen):
            continue
        overlap, best = box_iou(boxes[chosen], target.boxes).max(dim=1)
        near = overlap >= FOLLOWS
        for roi, which in zip(chosen[near].tolist(), best[near].tolist(), strict=True):
            for part in range(count):
                moved[roi, part] = tighten(reference[roi, part], target.masks[which])
    iou = paired_iou(moved, reference)
    fallback = iou < sigma
    parts = torch.where(fallback[..., None], reference, moved)
    return Parts(parts, torch.where(fallback, torch.ones_like(iou), iou), fallback)


def _parts_of(heads: RoIHeads, rois: RoIs, features: RoIFeatures, mode: str) -> Parts:
    assert heads.parts is not None
    image_sizes, sigma = features.image_sizes[rois.image_index], getattr(heads.parts, "sigma", 0.5)
    if mode != "learned":
        return heads.parts(rois.boxes, rois.anchor_index, features.hidden.rows, image_sizes, "reference")
    return oracle_parts(rois.boxes, rois.image_index, image_sizes, heads.parts.count, sigma)


def install() -> None:
    """Let the ground truth of the present batch move the parts."""
    forward, batches = Detector.forward, evaluate.iterate_eval

    def with_targets(self: Detector, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        _objects[:] = targets or []
        return forward(self, images, targets)  # type: ignore[arg-type]

    def with_objects(*arguments: Any) -> Iterator[Any]:
        for batch in batches(*arguments):
            _objects[:] = batch[1]
            yield batch

    Detector.forward = with_targets  # type: ignore[method-assign, assignment]
    evaluate.iterate_eval = with_objects  # type: ignore[assignment]
    RoIHeads._parts_of = _parts_of  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    install()
    main()
