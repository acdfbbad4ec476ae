"""What lies behind the APs: PR curves, APs by size, confusions, and which images are best and worst.

Boxes only, beside the curves and APs, which are COCO's arrays for masks too. `dprd eval` writes it as
`analysis.json`, which `dprd report` draws.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.coco_results import Kind, to_coco_results
from dprd_cli.evaluation.coco import CocoArrays, CocoEvaluator
from dprd_cli.evaluation.confusion import ErrorAnalysis, ImageScore
from dprd_cli.evaluation.parts import PartDeformation
from dprd_cli.evaluation.threshold import ScoreCurves, ScoreThresholds, judge
from dprd_cli.evaluation.tide import TideReport, tide_errors
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import Sample

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


@dataclass(frozen=True, slots=True)
class PrecisionCurves:
    """Precision over COCO's 101 recalls.

    Args:
        mean: By the names in `CURVES`, the mean over the classes with objects: 101 precisions in 0..1, or
            None without any; `50:95` is averaged over the ten IoUs.
        classes: The same of each class. [K]
    """

    mean: dict[str, list[float] | None]
    classes: tuple[dict[str, list[float] | None], ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an evaluation's arrays and confusions say.

    Args:
        images: Number of images.
        iou_thresh: IoU of a confusion.
        score_thresh: Score from which a detection counts in confusions and F1.
        class_names: Name of each class index. [K]
        objects: Number of objects of each class. [K]
        curves: By kind: precision-recall curves.
        ap: By kind: each class's APs; see `ap_table`. [K]
        confusion: See `ErrorAnalysis.matrix`. [K+1, K+1]
        per_image: How well each image was done.
        thresholds: Scores of the best F1.
        scores: Precision, recall and F1 over the score.
        tide: TIDE's error types.
        parts: How the parts of detections deform; None where that was not collected.
    """

    images: int
    iou_thresh: float
    score_thresh: float
    class_names: tuple[str, ...]
    objects: list[int]
    curves: dict[Kind, PrecisionCurves]
    ap: dict[Kind, list[dict[str, float | None]]]
    confusion: list[list[int]]
    per_image: list[ImageScore]
    thresholds: ScoreThresholds
    scores: ScoreCurves
    tide: TideReport
    parts: PartDeformation | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers, under the names of its fields."""
        parts = {} if self.parts is None else {"parts": self.parts.to_json()}
        return {
            "images": self.images,
            "iou_thresh": self.iou_thresh,
            "score_thresh": self.score_thresh,
            "class_names": list(self.class_names),
            "objects": self.objects,
            "curves": {
                kind: {"mean": curves.mean, "classes": list(curves.classes)}
                for kind, curves in self.curves.items()
            },
            "ap": self.ap,
            "confusion": self.confusion,
            "per_image": [asdict(image) for image in self.per_image],
            "thresholds": self.thresholds.to_json(),
            "scores": self.scores.to_json(),
            "tide": self.tide.to_json(),
            **parts,
        }


def pr_curves(arrays: CocoArrays, columns: Iterable[int]) -> PrecisionCurves:
    """Return precision over COCO's 101 recalls, of each class and their mean.

    Law: the points are those of `arrays.precision`, at up to 100 detections an image, all sizes.

    Args:
        arrays: COCO's arrays of boxes or masks.
        columns: Index of each class along the arrays' class axis. [K]
    """
    precision = arrays.precision[:, :, :, 0, -1]  # [T, R, K]
    classes = tuple(
        {name: _curve(precision[ious, :, column]) for name, ious in CURVES.items()} for column in columns
    )
    mean: dict[str, list[float] | None] = {}
    for name in CURVES:
        known = [points for row in classes if (points := row[name]) is not None]
        mean[name] = np.mean(known, axis=0).tolist() if known else None
    return PrecisionCurves(mean, classes)


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


class ImageExample(NamedTuple):
    """An image with its detections, and how well it was done (see `ImageScore`)."""

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
        self._best: list[tuple[float, int, ImageExample]] = []
        self._worst: list[tuple[float, int, ImageExample]] = []

    def watch(self, sample: Sample, detections: Detections) -> None:
        """Add one image; detections in its frame."""
        rows = to_coco_results(detections, sample.image_id, self.category_ids)
        quality = self.errors.add(sample.image_id, rows)
        if quality is None:
            return
        one, number = ImageExample(quality, sample, detections), len(self.errors.images)
        # of equals, the earlier ones are better: so no image is both while there are others
        for heap, value, order in ((self._best, quality, -number), (self._worst, -quality, number)):
            heapq.heappush(heap, (value, order, one))
            if len(heap) > self.keep:
                heapq.heappop(heap)

    @property
    def best(self) -> list[ImageExample]:
        """The images of highest F1 in which something was found, best first, not those among the worst."""
        worst = {id(one.sample) for one in self.worst}
        ordered = sorted(self._best, key=lambda item: item[:2], reverse=True)
        return [one for *_, one in ordered if one.f1 > 0 and id(one.sample) not in worst]

    @property
    def worst(self) -> list[ImageExample]:
        """The images of lowest F1, worst first; of few images no more than half, and those of F1 0."""
        ordered = [one for *_, one in sorted(self._worst, key=lambda item: item[:2], reverse=True)]
        half = sum(image.f1 is not None for image in self.errors.images) // 2
        return [one for number, one in enumerate(ordered) if number < half or one.f1 == 0]

    def result(self, evaluator: CocoEvaluator, parts: PartDeformation | None = None) -> Analysis:
        """Return the analysis of what was watched; see `analyse`."""
        return analyse(evaluator, parts, self.errors)


def analyse(
    evaluator: CocoEvaluator, parts: PartDeformation | None = None, errors: ErrorAnalysis | None = None
) -> Analysis:
    """Return what an evaluation's arrays and confusions say.

    Args:
        evaluator: Holds the detections of all its images.
        parts: How the parts of detections deform, where that was measured.
        errors: Confusions of the same images; collected here where there are none.
    """
    errors = errors or _collect_errors(evaluator)
    arrays: dict[Kind, CocoArrays] = {kind: evaluator.arrays(kind) for kind in evaluator.kinds}
    judged = judge(evaluator)
    order = sorted(evaluator.category_ids)
    columns = [order.index(category_id) for category_id in evaluator.category_ids]
    return Analysis(
        images=len(evaluator.image_ids),
        iou_thresh=errors.iou,
        score_thresh=errors.score,
        class_names=evaluator.class_names,
        objects=errors.matrix[:-1].sum(axis=1).tolist(),
        curves={kind: pr_curves(values, columns) for kind, values in arrays.items()},
        ap={kind: ap_table(values, columns) for kind, values in arrays.items()},
        confusion=errors.matrix.tolist(),
        per_image=errors.images,
        thresholds=judged.thresholds(),
        scores=judged.curves(),
        tide=tide_errors(evaluator),
        parts=parts,
    )


def _collect_errors(evaluator: CocoEvaluator) -> ErrorAnalysis:
    errors = ErrorAnalysis(evaluator.ground_truth, evaluator.category_ids)
    rows = defaultdict(list)
    for row in evaluator.results["bbox"]:
        rows[row["image_id"]].append(row)
    for image_id in evaluator.image_ids:
        errors.add(image_id, rows[image_id])
    return errors
