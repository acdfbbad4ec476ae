"""A detector of `dprd export` without PyTorch: NumPy, Pillow and ONNX Runtime are all that it needs.

    from dprd_cli.onnx import Detector

    detector = Detector("detector.onnx")
    print(detector.predict("image.jpg").boxes)

Where PyTorch is not wanted, docs/export.md says how to install this alone.
`python -m dprd_cli.onnx FILE IMAGES...` prints COCO results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dprd_cli.errors import DataError, UsageError, UserError
from dprd_cli.ops.arrays import (
    DEEP_GREY,
    READABLE,
    compress_mask,
    paste_mask,
    resize_image,
    resize_shape,
    scale_deep_grey,
)
from dprd_cli.structures.image_detections import ImageDetections
from dprd_cli.version import __version__

#: A file, a Pillow image, or an array: uint8 RGB [H, W, 3] or grey [H, W].
OnnxImage: TypeAlias = str | PathLike[str] | Image.Image | NDArray[np.uint8]
_METADATA = "dprd.json"
_USUAL_SCORE = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class OnnxPrediction(ImageDetections):
    """What a detector found in one image, best score first: what `Prediction` has, as far as NumPy can.

    Args:
        name: The file, or empty for an image that came from memory.
        image: RGB, upright. [H, W, 3]
        boxes: xyxy in pixels of the image. [D, 4]
        scores: Class scores in 0..1. [D]
        labels: Class indices 0..K-1. [D]
        all_class_names: Name of each class index. [K]
        category_ids: Category id, in the training data, of each class index. [K]
        part_boxes: Parts of each box, xyxy, or None where the detector has none. [D, P, 4]
        small_masks: Mask probabilities inside each box, or None where the detector has none. [D, M, M]
        mask_scores: Class score times predicted mask IoU, or None as for the masks. [D]
    """

    name: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    all_class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    part_boxes: NDArray[np.float32] | None = None
    small_masks: NDArray[np.float32] | None = None
    mask_scores: NDArray[np.float32] | None = None

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """Masks of the whole image, or None where the detector has none; made on first use. [D, H, W]."""
        if self.small_masks is None:
            return None
        pairs = zip(self.small_masks, self.boxes, strict=True)
        pasted = [paste_mask(mask, box, self.image_size) for mask, box in pairs]
        return np.stack(pasted) if pasted else np.zeros((0, *self.image_size), dtype=bool)

    def _select(self, rows: NDArray[np.bool_] | slice) -> OnnxPrediction:
        names = ("boxes", "scores", "labels", "part_boxes", "small_masks", "mask_scores")
        chosen = {name: value[rows] for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **chosen)

    def to_coco(self, image_id: int = 1, *, masks: bool = True, parts: bool = True) -> list[dict[str, Any]]:
        """Return COCO results, JSON-serialisable, one record per detection.

        Args:
            image_id: Id of the image.
            masks: Add `segmentation` (compressed RLE) and `mask_score`, where there are masks.
            parts: Add `part_boxes` (xywh), where there are parts.
        """
        records: list[dict[str, Any]] = []
        for row, label in enumerate(self.labels.tolist()):
            record = {"image_id": image_id, "category_id": self.category_ids[label]}
            record |= {"bbox": _xywh(self.boxes[row]), "score": float(self.scores[row])}
            if masks and self.masks is not None and self.mask_scores is not None:
                record |= {"segmentation": compress_mask(self.masks[row])}
                record |= {"mask_score": float(self.mask_scores[row])}
            if parts and self.part_boxes is not None:
                record["part_boxes"] = [_xywh(box) for box in self.part_boxes[row]]
            records.append(record)
        return records


class OnnxDetector:
    """An ONNX file that `dprd export` wrote, ready to detect.

    Args:
        path: The file.
        providers: ONNX Runtime's execution providers, the first that works.
        score_thresh: Predictions hold detections from this score; by default what the file says.

    Raises:
        UserError: If ONNX Runtime is not installed, or the file is none of `dprd export`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        score_thresh: float | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError("onnxruntime is not installed; pip install onnxruntime") from error
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=list(providers))
            known = self._session.get_modelmeta().custom_metadata_map
            self.metadata: dict[str, Any] = json.loads(known[_METADATA])
            self.class_names: tuple[str, ...] = tuple(self.metadata["class_names"])
            self.category_ids: tuple[int, ...] = tuple(self.metadata["category_ids"])
            told = self.metadata.get("score_thresh", _USUAL_SCORE)
        except Exception as error:  # onnxruntime has kinds of its own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path}: not an ONNX file of dprd export ({reason})") from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.score_thresh: float = told if score_thresh is None else score_thresh

    def predict(
        self, image: OnnxImage, *, score_thresh: float | None = None, masks: bool = True
    ) -> OnnxPrediction:
        """Detect in one image.

        Args:
            image: A file, a Pillow image, or an array: uint8 RGB [H, W, 3] or grey [H, W].
            score_thresh: Keep detections from this score; the detector's by default.
            masks: Keep masks, where the detector has mask heads.

        Raises:
            DataError: If a file cannot be read.
            ValueError: If an array has another shape, type or range of values.
        """
        pixels = _to_rgb(image)
        found = self._detect(pixels)
        count = int(found["count"][0])
        rows = {name: value[0, :count] for name, value in found.items() if name != "count"}
        prediction = OnnxPrediction(
            name=str(image) if isinstance(image, str | PathLike) else "",
            image=pixels,
            boxes=rows["boxes"],
            scores=rows["scores"],
            labels=rows["labels"],
            all_class_names=self.class_names,
            category_ids=self.category_ids,
            part_boxes=rows.get("part_boxes"),
            small_masks=rows.get("masks") if masks else None,
            mask_scores=rows.get("mask_scores") if masks else None,
        )
        return prediction.above(self.score_thresh if score_thresh is None else score_thresh)

    def _detect(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the outputs for an image [H, W, 3], with boxes in its frame."""
        rules = self.metadata["preprocessing"]
        batch, _, *fixed = self.metadata["inputs"]["images"]["shape"]
        height, width = image.shape[:2]
        shape = resize_shape(height, width, rules["min_size"], rules["max_size"])
        sides = [side if isinstance(side, int) else 0 for side in fixed]
        if all(sides) and (shape[0] > sides[0] or shape[1] > sides[1]):
            shrink = min(sides[0] / shape[0], sides[1] / shape[1])
            smaller = max(1, int(min(shape) * shrink))
            shape = resize_shape(height, width, smaller, rules["max_size"])
        step = rules["size_divisor"]
        padded = [side or -(-own // step) * step for side, own in zip(sides, shape, strict=True)]
        number = batch if isinstance(batch, int) else 1
        images = np.zeros((number, 3, *padded), dtype=np.uint8)
        images[:, :, : shape[0], : shape[1]] = resize_image(image, shape).transpose(2, 0, 1)
        sizes = np.array([shape] * number, dtype=np.int64)
        values = self._session.run(None, {"images": images, "image_sizes": sizes})
        found = dict(zip(self._outputs, values, strict=True))
        scale = np.array([image.shape[1] / shape[1], image.shape[0] / shape[0]] * 2, dtype=np.float32)
        for name in ("boxes", "part_boxes"):
            if name in found:
                found[name] = found[name] * scale
        return found


Detector = OnnxDetector


def _to_rgb(image: OnnxImage) -> NDArray[np.uint8]:
    if isinstance(image, str | PathLike):
        try:
            with Image.open(image, formats=READABLE) as file:
                return _to_rgb(ImageOps.exif_transpose(file))
        except Exception as error:  # Pillow's plugins raise nearly anything on broken files
            raise DataError(f"{image}: cannot be read as an image ({error})") from error
    if isinstance(image, Image.Image):
        if image.mode not in DEEP_GREY:
            return np.array(image.convert("RGB"))
        grey = scale_deep_grey(np.asarray(image).astype(np.int64))
        if grey is None:
            raise ValueError("a grey image with values outside 0..65535")
        return np.repeat(grey, 3, axis=2)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image: expected uint8 [H, W, 3] or [H, W], but got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image if image.ndim == 3 else np.stack([image] * 3, axis=2))


def _xywh(box: NDArray[np.float32]) -> list[float]:
    x1, y1, x2, y2 = box.astype(float).tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def main(arguments: Sequence[str]) -> None:
    """Print COCO results of images, all detections, each with its `file_name`, as JSON.

    Raises:
        UsageError: Without a file and images.
    """
    if len(arguments) < 2:
        raise UsageError(f"dprd-cli {__version__}: python -m dprd_cli.onnx FILE.onnx IMAGES...")
    detector, rows = Detector(arguments[0], score_thresh=0.0), []
    for number, path in enumerate(arguments[1:], start=1):
        found = detector.predict(path).to_coco(number)
        rows += [row | {"file_name": Path(path).name} for row in found]
    print(json.dumps(rows))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as problem:
        sys.exit(f"error: {problem}")
