"""What lies behind the APs: PR curves, APs by size, confusions, and which images are best and worst.

Boxes only, beside the curves and APs, which are COCO's arrays for masks too. Everything comes out as plain
containers, which `dprd eval` writes as `analysis.json`, and `dprd report` draws.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dprd_cli.data.coco_results import Kind, to_coco_results
from dprd_cli.evaluation.coco import CocoArrays, CocoEvaluator
from dprd_cli.evaluation.parts import PartStatistics
from dprd_cli.evaluation.tide import tide_errors
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import Sample

#: IoU of a confusion, and score from which a detection counts.
MATCH_IOU, MATCH_SCORE = 0.5, 0.5
#: Name of a precision-recall curve -> index into the array's ten IoUs.
CURVES: dict[str, slice] = {"50": slice(0, 1), "75": slice(5, 6), "50:95": slice(None)}
#: Name of an AP -> indices into the array's IoUs and areas (all, small, medium, large).
APS: dict[str, tuple[slice, int]] = {
    "AP": (slice(None), 0),
    "AP50": (slice(0, 1), 0),
    "AP75": (slice(5, 6), 0),
    "APS": (slice(None), 1),
    "APM": (slice(None), 2),
    "APL": (slice(None), 3),
}
_QUALITY_IOUS = np.linspace(0.5, 0.95, 10)


def pr_curves(arrays: CocoArrays, columns: Iterable[int]) -> dict[str, Any]:
    """Return precision over COCO's 101 recalls, of each class and their mean.

    Law: the points are those of `arrays.precision`, at up to 100 detections an image, all sizes.

    Args:
        arrays: COCO's arrays of boxes or of masks.
        columns: Index of each class along the arrays' class axis. [K]

    Returns:
        `mean`, and `classes` [K]: dicts by the names in `CURVES` of 101 precisions in 0..1, or None where
        the class has no object. `50:95` is averaged over the ten IoUs.
    """
    precision = arrays.precision[:, :, :, 0, -1]  # [T, R, K]
    classes = [
        {name: _curve(precision[ious, :, column]) for name, ious in CURVES.items()} for column in columns
    ]
    mean = {}
    for name in CURVES:
        known = [points for row in classes if (points := row[name]) is not None]
        mean[name] = np.mean(known, axis=0).tolist() if known else None
    return {"mean": mean, "classes": classes}


def _curve(precision: NDArray[np.float64]) -> list[float] | None:
    """Average the curves of several IoUs [T, R]; COCO marks a class without objects by -1."""
    return None if (precision < 0).all() else precision.mean(axis=0).tolist()


def ap_table(arrays: CocoArrays, columns: Iterable[int]) -> list[dict[str, float | None]]:
    """Return each class's APs by the names in `APS`, in percent; None where it has no such object. [K]."""
    table = []
    for column in columns:
        row: dict[str, float | None] = {}
        for name, (ious, area) in APS.items():
            values = arrays.precision[ious, :, column, area, -1]
            row[name] = 100 * float(values[values > -1].mean()) if (values > -1).any() else None
        table.append(row)
    return table


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
        images: For each image `image_id`, `file_name`, `objects`, `detections`, and `f1`.

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
        self.images: list[dict[str, Any]] = []
        self._label = {category_id: label for label, category_id in enumerate(category_ids)}
        self._names = {image["id"]: image.get("file_name", "") for image in ground_truth["images"]}
        self._objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in ground_truth.get("annotations", []):
            if row["category_id"] in self._label:
                self._objects[row["image_id"]].append(row)

    def add(self, image_id: int, results: Iterable[dict[str, Any]]) -> float | None:
        """Add one image's detections, as COCO results with boxes.

        Returns:
            The image's F1 = 2 TP / (2 TP + FP + FN), averaged over IoU 0.5, 0.55, ..., 0.95; None where
            there is no object and no detection.
        """
        kept = sorted((row for row in results if row["score"] >= self.score), key=lambda row: -row["score"])
        objects, found = self._pack(self._objects[image_id]), self._pack(kept)
        overlap = _overlap(found, objects)
        same = np.where(found.labels[:, None] == objects.labels[None], overlap, -1.0)
        self._confuse(objects, found, overlap, same)
        quality = _f1(same, objects.crowd)
        counts = {"objects": int((~objects.crowd).sum()), "detections": len(kept)}
        name = str(self._names.get(image_id, ""))
        self.images.append({"image_id": image_id, "file_name": name, **counts, "f1": quality})
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


class Ranked(NamedTuple):
    """An image and how well its objects were found."""

    f1: float
    sample: Sample
    detections: Detections


class Analyst:
    """Watches an evaluation and analyses it; keeps only the few best and worst images in memory.

    Args:
        ground_truth: A COCO `instances` dict of the split.
        category_ids: Original category id of each class index. [K]
        class_names: Name of each class index. [K]
        keep: How many best, and worst, images to keep.
    """

    def __init__(
        self,
        ground_truth: dict[str, Any],
        category_ids: tuple[int, ...],
        class_names: tuple[str, ...],
        *,
        keep: int = 6,
    ) -> None:
        self.class_names, self.category_ids, self.keep = class_names, category_ids, keep
        self.errors = ErrorAnalysis(ground_truth, category_ids)
        self.parts = PartStatistics(class_names)
        self._best: list[tuple[float, int, Ranked]] = []
        self._worst: list[tuple[float, int, Ranked]] = []

    def watch(self, sample: Sample, detections: Detections) -> None:
        """Add one image; detections in its frame."""
        rows = to_coco_results(detections, sample.image_id, self.category_ids)
        quality = self.errors.add(sample.image_id, rows)
        self.parts.add(detections[detections.scores >= self.errors.score])
        if quality is None:
            return
        one, order = Ranked(quality, sample, detections), -len(self.errors.images)  # earlier ones win ties
        for heap, value in ((self._best, quality), (self._worst, -quality)):
            heapq.heappush(heap, (value, order, one))
            if len(heap) > self.keep:
                heapq.heappop(heap)

    @property
    def best(self) -> list[Ranked]:
        """The images of highest F1, best first."""
        return [one for *_, one in sorted(self._best, key=lambda item: item[:2], reverse=True)]

    @property
    def worst(self) -> list[Ranked]:
        """The images of lowest F1, worst first, without those that are among the best."""
        best = {id(one.sample) for one in self.best}
        ordered = sorted(self._worst, key=lambda item: item[:2], reverse=True)
        return [one for *_, one in ordered if id(one.sample) not in best]

    def result(self, evaluator: CocoEvaluator) -> dict[str, Any]:
        """Return the analysis of what was watched; see `analyse`."""
        return {**analyse(evaluator, self.errors), "parts": self.parts.result()}


def analyse(evaluator: CocoEvaluator, errors: ErrorAnalysis | None = None) -> dict[str, Any]:
    """Return what an evaluation's arrays and confusions say, as plain containers.

    Args:
        evaluator: With all its images.
        errors: Error analysis of the same images; made here where there is none.

    Returns:
        `images`, `iou_thresh`, `score_thresh`, `class_names`, `curves` and `ap` (by kind: `pr_curves` and
        `ap_table`), `objects` (by class), `confusion` (the matrix), `per_image`, and `tide` (`tide_errors`).
    """
    if errors is None:
        errors = ErrorAnalysis(evaluator.ground_truth, evaluator.category_ids)
        rows = defaultdict(list)
        for row in evaluator.results["bbox"]:
            rows[row["image_id"]].append(row)
        for image_id in evaluator.image_ids:
            errors.add(image_id, rows[image_id])
    arrays: dict[Kind, CocoArrays] = {kind: evaluator.arrays(kind) for kind in evaluator.kinds}
    order = sorted(evaluator.category_ids)
    columns = [order.index(category_id) for category_id in evaluator.category_ids]
    return {
        "images": len(evaluator.image_ids),
        "iou_thresh": errors.iou,
        "score_thresh": errors.score,
        "class_names": list(evaluator.class_names),
        "objects": errors.matrix[:-1].sum(axis=1).tolist(),
        "curves": {kind: pr_curves(values, columns) for kind, values in arrays.items()},
        "ap": {kind: ap_table(values, columns) for kind, values in arrays.items()},
        "confusion": errors.matrix.tolist(),
        "per_image": errors.images,
        "tide": tide_errors(evaluator),
    }
