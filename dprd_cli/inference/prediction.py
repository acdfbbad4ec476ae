"""One image's detections, in every form that they are used in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dprd_cli.data.coco_results import to_coco_results
from dprd_cli.drawing.canvas import shrink
from dprd_cli.drawing.detections import draw_detections
from dprd_cli.errors import UsageError, UserError
from dprd_cli.files.atomic import write_bytes
from dprd_cli.files.images import WRITABLE_SUFFIXES, encode_png, write_image
from dprd_cli.inference.video import Moment
from dprd_cli.ops.masks import paste_masks
from dprd_cli.structures.detections import CascadeTrace, Detections
from dprd_cli.structures.image_detections import ImageDetections

if TYPE_CHECKING:
    import supervision

_SHOWN_SIDE = 1024  # pixels of a notebook's drawing, at most


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(ImageDetections):
    """What a detector found in one image, best score first. A notebook shows it as a drawing.

    Args:
        name: The file, the URL, `VIDEO#FRAME`, or empty for an image that came from memory.
        image: RGB, upright. [H, W, 3]
        detections: On the CPU, in the frame of `image`.
        all_class_names: Name of each class index. [K]
        category_ids: Category id, in the training data, of each class index. [K]
        moment: Where the frame of a video is in it; None for an image.
        trace: Way of the detections through the cascade, in the frame of `image`; None for multi-scale
            testing.
    """

    name: str
    image: NDArray[np.uint8]
    detections: Detections
    all_class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    moment: Moment | None = None
    trace: CascadeTrace | None = None

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Boxes, xyxy in pixels of the image. [D, 4]."""
        return np.asarray(self.detections.boxes.float().numpy())

    @property
    def scores(self) -> NDArray[np.float32]:
        """Class scores in 0..1. [D]."""
        return np.asarray(self.detections.scores.float().numpy())

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices 0..K-1. [D]."""
        return np.asarray(self.detections.labels.numpy())

    @property
    def part_boxes(self) -> NDArray[np.float32] | None:
        """Deformed parts of each box, xyxy, or None where the detector has none. [D, P, 4]."""
        parts = self.detections.part_boxes
        return None if parts is None else np.asarray(parts.float().numpy())

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """Masks of the whole image, or None where the detector has none; made on first use. [D, H, W]."""
        found = self.detections
        if found.masks is None:
            return None
        return np.asarray(paste_masks(found.masks, found.boxes, found.image_size).numpy())

    def _select(self, rows: NDArray[np.bool_] | slice) -> Prediction:
        index = rows if isinstance(rows, slice) else torch.from_numpy(rows)
        trace = None if self.trace is None else self.trace[index]
        return replace(self, detections=self.detections[index], trace=trace)

    def to_coco(self, image_id: int = 1, *, masks: bool = True, parts: bool = True) -> list[dict[str, Any]]:
        """Return COCO results, JSON-serialisable, one record per detection.

        Args:
            image_id: Id of the image.
            masks: Add `segmentation` (compressed RLE) and `mask_score`, where there are masks.
            parts: Add `part_boxes` (xywh), where there are parts, and `part_shares` and `part_falls`, where
                they are known; see `Detections`.
        """
        found = self.detections
        records = to_coco_results(found, image_id, self.category_ids, "bbox")
        if masks and found.masks is not None:
            pasted = to_coco_results(found, image_id, self.category_ids, "segm")
            for record, mask in zip(records, pasted, strict=True):
                record |= {"segmentation": mask["segmentation"], "mask_score": mask["score"]}
        if parts and found.part_boxes is not None:
            for record, boxes in zip(records, found.part_boxes.double().tolist(), strict=True):
                record["part_boxes"] = [_xywh(box) for box in boxes]
        for key in ("part_shares", "part_falls") if parts else ():
            told: Tensor | None = getattr(found, key)
            for record, values in zip(records, [] if told is None else told.double().tolist(), strict=False):
                record[key] = [round(value, 4) for value in values]
        return records

    def to_supervision(self) -> supervision.Detections:
        """Return `supervision.Detections`, with class names in `data["class_name"]`.

        Raises:
            UserError: If the package supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise UserError("to_supervision() needs a package: pip install supervision") from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.class_names, dtype=str)},
        )

    def plot(
        self,
        *,
        score_thresh: float = 0.0,
        masks: bool = True,
        parts: bool = False,
        part_style: str = "tones",
        color_by: str = "",
    ) -> NDArray[np.uint8]:
        """Draw the detections.

        Args:
            score_thresh: Leave out detections below this score.
            masks: Draw masks, where there are any.
            parts: Draw part boxes, where there are any.
            part_style: `tones` (of orange), `paper` (its Fig. 6) or `distinct` (for every colour vision).
            color_by: `class` or `instance`; empty: by instance where there is one class.

        Returns:
            RGB, enlarged if the image is small. [H', W', 3]
        """
        return draw_detections(
            self.image,
            self.detections,
            self.all_class_names,
            score_thresh=score_thresh,
            masks=masks,
            parts=parts,
            part_style=part_style,
            color_by=color_by,
        )

    def _repr_png_(self) -> bytes:
        """Return the drawing with parts as a PNG, which notebooks show; large images are made smaller."""
        return encode_png(shrink(self.plot(parts=True), _SHOWN_SIDE))

    def save(self, path: str | Path, *, parts: bool = False) -> Path:
        """Write the drawing (`.png`, `.jpg`, ...), or COCO results (`.json`), as the suffix says.

        Args:
            path: The file; its folder must exist.
            parts: Part boxes too.

        Raises:
            UsageError: At another suffix.
            ResourceError: If it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() == ".json":
            text = json.dumps(self.to_coco(parts=parts)) + "\n"
            write_bytes(path, text.encode())
        elif path.suffix.lower() in WRITABLE_SUFFIXES:
            write_image(path, self.plot(parts=parts))
        else:
            endings = ", ".join((".json", *WRITABLE_SUFFIXES))
            raise UsageError(f"{path}: cannot save as '{path.suffix}'; use {endings}")
        return path


def _xywh(box: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
