"""Whether objects whose class can be read at one place are told right, and whether a part lies there.

Only data that knows the place says so (`Sample.cues`): the built-in signposts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.evaluation.metric import DetectionRecord
from dprd_cli.structures.detections import Detections

#: Least IoU of a detection with the object that it locates.
LOCATED = 0.5


def locate_objects(detections: Detections, boxes: Tensor) -> Tensor:
    """Return the surest detection of each object, whatever its class: its index, or -1 where there is none.

    Args:
        detections: Best score first.
        boxes: The objects, in the same frame. [G, 4]

    Returns:
        int64. [G]
    """
    if not len(detections) or not len(boxes):
        return torch.full((len(boxes),), -1)
    hit = box_iou(boxes.float(), detections.boxes.float()) >= LOCATED  # [G, D]
    return torch.where(hit.any(dim=1), hit.int().argmax(dim=1), -1)


def holds(boxes: Tensor, points: Tensor) -> Tensor:
    """Return which boxes [..., 4] hold points (x, y) [..., 2], their edges included. [...]."""
    return ((boxes[..., :2] <= points) & (points <= boxes[..., 2:])).all(dim=-1)


class LocatedObjects(NamedTuple):
    """The objects of an image that a detection locates.

    Args:
        objects: Number of all objects.
        right: Whether each has its class, bool. [L]
        held: Whether a part of each holds its cue, bool; None where detections have no parts. [L]
    """

    objects: int
    right: Tensor
    held: Tensor | None


class CueReading:
    """`located`, `located_accuracy` and `cue_held`: shares of objects, on data that tells of cues.

    An object is located by the surest detection of IoU 0.5 or more, whatever its class. Of those that are,
    it is told how many have the right class, and of how many at least one part holds the cue.
    """

    def of(self, record: DetectionRecord) -> LocatedObjects | None:
        """Return what is known of one image's objects; None where the data does not tell of cues."""
        sample, found = record.sample, record.detections
        if sample.cues is None:
            return None
        chosen = locate_objects(found, torch.from_numpy(sample.boxes))
        located = chosen >= 0
        rows = chosen[located]
        right = found.labels[rows] == torch.from_numpy(sample.labels)[located]
        held = None
        if found.part_boxes is not None:
            cues = torch.from_numpy(sample.cues)[located]
            held = holds(found.part_boxes[rows], cues[:, None]).any(dim=1)
        return LocatedObjects(len(chosen), right, held)

    def result(self, images: Sequence[LocatedObjects | None]) -> Mapping[str, float | None]:
        """Return the shares by key, None of no objects; nothing where the data does not tell of cues."""
        known = [one for one in images if one is not None]
        if not known:
            return {}
        held = [one.held for one in known if one.held is not None]
        objects, located = sum(one.objects for one in known), sum(len(one.right) for one in known)
        return {
            "located": located / objects if objects else None,
            "located_accuracy": _share([one.right for one in known]),
            **({"cue_held": _share(held)} if held else {}),
        }


def _share(marks: Sequence[Tensor]) -> float | None:
    """Return how many of all marks are set."""
    every = torch.cat([*marks])
    return every.double().mean().item() if len(every) else None
