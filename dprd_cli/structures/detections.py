"""The only currency between the layers: what an image contains, and what a detector says it contains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor


def _check(name: str, value: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = value.ndim == len(shape) and all(
        w is None or w == g for w, g in zip(shape, value.shape, strict=True)
    )
    if not fits:
        expected = "(" + ", ".join("_" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name}: expected shape {expected}, but got {tuple(value.shape)}")


@dataclass(frozen=True, slots=True)
class Target:
    """What one image contains, in the frame of the image tensor that it accompanies.

    Args:
        boxes: Objects, xyxy in pixels. [G, 4]
        labels: Class indices 0..K-1, int64. [G]
        image_size: (height, width) of the image tensor, without padding.
        masks: Instance masks, bool, or None where the data has none. [G, H, W]
        has_mask: Which objects carry a mask (data can be mixed), bool; all of them by default. [G]
        image_id: Id of the image in its data set.
        cues: Where each object's class can be read, (x, y), or None; see `Sample`. [G, 2]

    Raises:
        ValueError: If the shapes do not agree.
    """

    boxes: Tensor
    labels: Tensor
    image_size: tuple[int, int]
    masks: Tensor | None = None
    has_mask: Tensor = field(default=None)  # type: ignore[assignment]
    image_id: int = -1
    cues: Tensor | None = None

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, (None, 4))
        num = len(self.boxes)
        _check("labels", self.labels, (num,))
        if self.masks is not None:
            _check("masks", self.masks, (num, *self.image_size))
        if self.has_mask is None:
            full = torch.ones if self.masks is not None else torch.zeros
            object.__setattr__(self, "has_mask", full(num, dtype=torch.bool, device=self.boxes.device))
        _check("has_mask", self.has_mask, (num,))
        if self.cues is not None:
            _check("cues", self.cues, (num, 2))

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device | str) -> Target:
        """Return a copy whose tensors are on `device`."""
        return replace(
            self,
            boxes=self.boxes.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            masks=None if self.masks is None else self.masks.to(device, non_blocking=True),
            has_mask=self.has_mask.to(device, non_blocking=True),
            cues=None if self.cues is None else self.cues.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found in one image, best score first.

    Args:
        boxes: Final boxes, xyxy in pixels of `image_size`. [D, 4]
        scores: Class scores in 0..1. [D]
        labels: Class indices 0..K-1, int64. [D]
        image_size: (height, width) of the frame the boxes are in.
        masks: Mask probabilities inside each box (28x28 in the paper), or None. [D, M, M]
        mask_scores: Score of each mask (class score times predicted mask IoU where there is a MaskIoU
            head), or None. [D]
        part_boxes: Deformed parts of each final box, xyxy, or None. [D, P, 4]
        part_shares: Share of the assembly's maxima that each part wins, the whole last, or None where that
            was not asked for; NaN where it was not asked for a detection. [D, P+1]
        part_falls: By how much the class score falls when each part, or the whole, wins none. [D, P+1]
        part_places: Probability of each place that a part can be at, where parts choose among places; asked
            for like `part_shares`. [D, P, Q]
        part_steadiness: Share of slightly shifted boxes whose part is at the same place. [D, P]

    Raises:
        ValueError: If the shapes do not agree.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image_size: tuple[int, int]
    masks: Tensor | None = None
    mask_scores: Tensor | None = None
    part_boxes: Tensor | None = None
    part_shares: Tensor | None = None
    part_falls: Tensor | None = None
    part_places: Tensor | None = None
    part_steadiness: Tensor | None = None

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, (None, 4))
        num = len(self.boxes)
        _check("scores", self.scores, (num,))
        _check("labels", self.labels, (num,))
        optional: dict[str, tuple[int | None, ...]] = {
            "masks": (num, None, None),
            "mask_scores": (num,),
            "part_boxes": (num, None, 4),
            "part_shares": (num, None),
            "part_falls": (num, None),
            "part_places": (num, None, None),
            "part_steadiness": (num, None),
        }
        for name, shape in optional.items():
            if (value := getattr(self, name)) is not None:
                _check(name, value, shape)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        """Return the detections that `index` (a slice, mask or index tensor) selects."""
        return _map(self, lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Detections:
        """Return a copy whose tensors are on `device`."""
        return _map(self, lambda tensor: tensor.to(device))

    def resize(self, image_size: tuple[int, int]) -> Detections:
        """Return the same detections in the frame of an image of `image_size` (height, width)."""
        return _resize(self, image_size)


@dataclass(frozen=True, slots=True)
class CascadeTrace:
    """The way of an image's detections through the cascade, row by row as in their `Detections`.

    Args:
        boxes: The box that went into each stage, xyxy in pixels of `image_size`. [D, n, 4]
        anchor_index: Where each stage's part offsets were read (see `RoIs`), int64. Valid for the one batch
            of images that was detected in; in any other it points elsewhere. [D, n, 2]
        part_boxes: The parts that each stage pooled, xyxy (reference parts where a stage pools none), or
            None without parts. [D, n, P, 4]
        image_size: (height, width) of the frame the boxes are in.

    Raises:
        ValueError: If the shapes do not agree.
    """

    boxes: Tensor
    anchor_index: Tensor
    part_boxes: Tensor | None
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, (None, None, 4))
        num, stages = self.boxes.shape[:2]
        _check("anchor_index", self.anchor_index, (num, stages, 2))
        if self.part_boxes is not None:
            _check("part_boxes", self.part_boxes, (num, stages, None, 4))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice) -> CascadeTrace:
        """Return the rows that `index` (a slice, mask or index tensor) selects."""
        return _map(self, lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> CascadeTrace:
        """Return a copy whose tensors are on `device`."""
        return _map(self, lambda tensor: tensor.to(device))

    def resize(self, image_size: tuple[int, int]) -> CascadeTrace:
        """Return the same trace in the frame of an image of `image_size` (height, width)."""
        return _resize(self, image_size)


_Rows = TypeVar("_Rows", Detections, CascadeTrace)


def _map(rows: _Rows, function: Callable[[Tensor], Tensor]) -> _Rows:
    values = {f.name: getattr(rows, f.name) for f in fields(rows)}
    changed: dict[str, Any] = {
        name: function(value) for name, value in values.items() if isinstance(value, Tensor)
    }
    return replace(rows, **changed)


def _resize(rows: _Rows, image_size: tuple[int, int]) -> _Rows:
    sy, sx = image_size[0] / rows.image_size[0], image_size[1] / rows.image_size[1]
    scale = rows.boxes.new_tensor([sx, sy, sx, sy])
    values = {"boxes": rows.boxes, "part_boxes": rows.part_boxes}
    scaled: dict[str, Any] = {name: v * scale for name, v in values.items() if v is not None}
    return replace(rows, image_size=image_size, **scaled)
