"""The only currency between the layers: what an image contains, and what a detector says it contains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

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

    Raises:
        ValueError: If the shapes do not agree.
    """

    boxes: Tensor
    labels: Tensor
    image_size: tuple[int, int]
    masks: Tensor | None = None
    has_mask: Tensor = field(default=None)  # type: ignore[assignment]
    image_id: int = -1

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
        stage_boxes: The box that went into each cascade stage, xyxy, or None. [D, n, 4]
        stage_part_boxes: The parts that each stage pooled (empty for stages without parts: equal to the
            reference parts there), xyxy, or None. [D, n, P, 4]
        stage_anchor_index: Where each stage's part offsets came from (see `RoIs`), int64, or None. [D, n, 2]

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
    stage_boxes: Tensor | None = None
    stage_part_boxes: Tensor | None = None
    stage_anchor_index: Tensor | None = None

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, (None, 4))
        num = len(self.boxes)
        _check("scores", self.scores, (num,))
        _check("labels", self.labels, (num,))
        optional: tuple[tuple[str, tuple[int | None, ...]], ...] = (
            ("masks", (num, None, None)),
            ("mask_scores", (num,)),
            ("part_boxes", (num, None, 4)),
            ("stage_boxes", (num, None, 4)),
            ("stage_part_boxes", (num, None, None, 4)),
            ("stage_anchor_index", (num, None, 2)),
        )
        for name, shape in optional:
            value = getattr(self, name)
            if value is not None:
                _check(name, value, shape)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        """Return the detections that `index` (a slice, mask or index tensor) selects."""
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Detections:
        """Return a copy whose tensors are on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def resize(self, image_size: tuple[int, int]) -> Detections:
        """Return the same detections in the frame of an image of `image_size` (height, width)."""
        sy, sx = image_size[0] / self.image_size[0], image_size[1] / self.image_size[1]
        scale = self.boxes.new_tensor([sx, sy, sx, sy])
        scaled = {
            name: None if (value := getattr(self, name)) is None else value * scale
            for name in ("boxes", "part_boxes", "stage_boxes", "stage_part_boxes")
        }
        return replace(self, image_size=image_size, **scaled)  # type: ignore[arg-type]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Detections:
        names = (
            "boxes",
            "scores",
            "labels",
            "masks",
            "mask_scores",
            "part_boxes",
            "stage_boxes",
            "stage_part_boxes",
            "stage_anchor_index",
        )
        changed = {name: function(value) for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **changed)  # type: ignore[arg-type]
