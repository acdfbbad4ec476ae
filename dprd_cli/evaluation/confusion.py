"""Confusions: which objects were detected as what, and how well each image was done (F1).

Boxes only, at one score threshold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

#: IoU of a confusion, and score from which a detection counts.
MATCH_IOU, MATCH_SCORE = 0.5, 0.5
_QUALITY_IOUS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, slots=True)
class ImageScore:
    """How well one image was done.

    Args:
        image_id: Its id in the annotation file.
        file_name: Its name there.
        objects: Number of annotated objects, crowds left out.
        detections: Number of detections that reach the score.
        f1: 2 TP / (2 TP + FP + FN), averaged over IoU 0.5, 0.55, ..., 0.95; None where there is no object
            and no detection.
    """

    image_id: int
    file_name: str
    objects: int
    detections: int
    f1: float | None


def assign(
    overlap: NDArray[np.float64], crowd: NDArray[np.bool_], iou: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give objects to detections as COCO does: each, best first, takes the free object of largest IoU.

    Args:
        overlap: IoU of each detection, best score first, with each object. [D, G]
        crowd: Objects that any number of detections may take, and only those that find no other. [G]
        iou: What it takes.

    Returns:
        The object of each detection or -1 [D], and which detections a crowd took, which do not count [D].
    """
    chosen = np.full(len(overlap), -1, dtype=np.int64)
    free, enough = ~crowd, min(iou, 1 - 1e-10)
    ignored = np.zeros(len(overlap), dtype=bool)
    for row, values in enumerate(overlap):
        left = np.where(free, values, -1.0)
        if left.size and left.max() >= enough:
            chosen[row] = left.argmax()
            free[chosen[row]] = False
        else:
            ignored[row] = bool((values[crowd] >= enough).any())
    return chosen, ignored


class _Boxes(NamedTuple):
    """Boxes xywh [N, 4], class indices [N], and which are crowds [N]."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]


class ErrorAnalysis:
    """Compares detections with objects image by image, at one score threshold.

    Args:
        ground_truth: A COCO `instances` dict; crowds (VOC: difficult objects) neither count nor are missed.
        category_ids: Original category id of each class index. [K]
        iou: Least IoU of a match in the confusion matrix.
        score: Detections below are left out.

    Attributes:
        matrix: Images' objects by their class (row) and the class they were detected as (column). The
            last row counts detections of nothing, the last column objects that were missed. [K+1, K+1]
        images: How well each image was done, in the order added.

    Law: the diagonal counts COCO's true positives at this IoU and score.

    Reading: detections take objects of their own class first, as in COCO's evaluation; what is left on both
    sides is then matched whatever its class.
    """

    def __init__(
        self,
        ground_truth: dict[str, Any],
        category_ids: tuple[int, ...],
        *,
        iou: float = MATCH_IOU,
        score: float = MATCH_SCORE,
    ) -> None:
        self.iou, self.score = iou, score
        self.matrix = np.zeros((len(category_ids) + 1, len(category_ids) + 1), dtype=np.int64)
        self.images: list[ImageScore] = []
        self._label = {category_id: label for label, category_id in enumerate(category_ids)}
        self._names = {image["id"]: image.get("file_name", "") for image in ground_truth["images"]}
        self._objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in ground_truth.get("annotations", []):
            if row["category_id"] in self._label:
                self._objects[row["image_id"]].append(row)

    def add(self, image_id: int, results: Iterable[dict[str, Any]]) -> float | None:
        """Add one image's detections, as COCO results with boxes.

        Returns:
            The image's F1; see `ImageScore`.
        """
        kept = sorted((row for row in results if row["score"] >= self.score), key=lambda row: -row["score"])
        objects, found = self._pack(self._objects[image_id]), self._pack(kept)
        overlap = _overlap(found, objects)
        same = np.where(found.labels[:, None] == objects.labels[None], overlap, -1.0)
        self._confuse(objects, found, overlap, same)
        quality = _f1(same, objects.crowd)
        name, count = str(self._names.get(image_id, "")), int((~objects.crowd).sum())
        self.images.append(ImageScore(image_id, name, count, len(kept), quality))
        return quality

    def _pack(self, rows: list[dict[str, Any]]) -> _Boxes:
        return _Boxes(
            np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4),
            np.array([self._label[row["category_id"]] for row in rows], dtype=np.int64),
            np.array([bool(row.get("iscrowd")) for row in rows], dtype=bool),
        )

    def _confuse(
        self, objects: _Boxes, found: _Boxes, overlap: NDArray[np.float64], same: NDArray[np.float64]
    ) -> None:
        chosen, ignored = assign(same, objects.crowd, self.iou)
        rest = np.flatnonzero((chosen < 0) & ~ignored)
        free = ~objects.crowd
        free[chosen[chosen >= 0]] = False
        left = np.flatnonzero(free)
        chosen[rest] = -1
        other, _ = assign(overlap[np.ix_(rest, left)], np.zeros(len(left), dtype=bool), self.iou)
        chosen[rest[other >= 0]] = left[other[other >= 0]]
        background = len(self.matrix) - 1
        missed = ~objects.crowd
        missed[chosen[chosen >= 0]] = False
        for row in np.flatnonzero(~ignored):
            actual = objects.labels[chosen[row]] if chosen[row] >= 0 else background
            self.matrix[actual, found.labels[row]] += 1
        count = np.bincount(objects.labels[missed], minlength=len(self.matrix))
        self.matrix[:, background] += count


def _overlap(found: _Boxes, objects: _Boxes) -> NDArray[np.float64]:
    """Return COCO's IoU of detections with objects; with crowds it is the share of the detection. [D, G]."""
    if not len(found.boxes) or not len(objects.boxes):
        return np.zeros((len(found.boxes), len(objects.boxes)))
    return np.asarray(coco_mask.iou(found.boxes, objects.boxes, objects.crowd.astype(np.uint8)))


def _f1(same: NDArray[np.float64], crowd: NDArray[np.bool_]) -> float | None:
    """Return the mean F1 of one image, from the IoUs of detections with objects of their class. [D, G]."""
    scores = []
    for iou in _QUALITY_IOUS:
        chosen, ignored = assign(same, crowd, float(iou))
        right = int((chosen >= 0).sum())
        total = int((~ignored).sum()) + int((~crowd).sum())  # TP + FP and TP + FN
        if total:
            scores.append(2 * right / total)
    return float(np.mean(scores)) if scores else None
