"""Which score detections should have to be shown: the one of the best F1, over all classes and for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.confusion import MATCH_IOU, assign

#: Scores that curves are drawn over.
SCORES = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """A score threshold, and what holds of the detections that reach it.

    Args:
        score: Detections count from this score.
        f1: The harmonic mean of the two that follow.
        precision: Share of the detections that are right.
        recall: Share of the objects that are found.
    """

    score: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class ScoreThresholds:
    """The best thresholds of an evaluation; None where nothing was right at any score.

    Args:
        overall: All detections together.
        classes: By class name: those of the class alone.
        iou: IoU of the boxes from which a detection is right.
    """

    overall: BestThreshold | None
    classes: dict[str, BestThreshold | None]
    iou: float = MATCH_IOU

    @property
    def score(self) -> float | None:
        """The threshold of all detections together, where there is one."""
        return None if self.overall is None else self.overall.score

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        classes = {name: None if one is None else asdict(one) for name, one in self.classes.items()}
        overall = None if self.overall is None else asdict(self.overall)
        return {"iou": self.iou, "overall": overall, "classes": classes}


@dataclass(frozen=True, slots=True)
class ScoreCurves:
    """What holds of the boxes that reach a score, over the score.

    Args:
        scores: 0, 0.01, ..., 1.
        precision: Precision of all classes together; None where no detection reaches the score.
        recall: Recall of all classes together.
        f1: F1 of all classes together.
        classes: By class name: its F1; None without an object.
    """

    scores: list[float]
    precision: list[float | None]
    recall: list[float]
    f1: list[float]
    classes: dict[str, list[float] | None]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers, under the names of its fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class JudgedDetections:
    """Which of an evaluation's detections are right.

    Boxes are matched as COCO does at `MATCH_IOU`: each class for itself, the best scores first; what lies on
    crowds (VOC: difficult objects) neither counts nor is missed.

    Args:
        scored: By class name: score of each detection, and whether it is right.
        objects: By class name: number of objects that could be found.
    """

    scored: dict[str, list[tuple[float, bool]]]
    objects: dict[str, int]

    @property
    def together(self) -> list[tuple[float, bool]]:
        """The detections of all classes."""
        return [one for rows in self.scored.values() for one in rows]

    def thresholds(self) -> ScoreThresholds:
        """Return the thresholds at which the boxes have the best F1."""
        classes = {name: best_threshold(rows, self.objects[name]) for name, rows in self.scored.items()}
        return ScoreThresholds(best_threshold(self.together, sum(self.objects.values())), classes)

    def curves(self) -> ScoreCurves:
        """Return precision, recall and F1 over the score from which detections count."""
        (right, kept), every = counts_over_scores(self.together), sum(self.objects.values())
        pairs = zip(right, kept, strict=True)
        return ScoreCurves(
            scores=SCORES.round(2).tolist(),
            precision=[round(float(hits / count), 4) if count else None for hits, count in pairs],
            recall=(right / max(every, 1)).round(4).tolist(),
            f1=_f1(right, kept, every),
            classes={
                name: _f1(*counts_over_scores(rows), self.objects[name]) if self.objects[name] else None
                for name, rows in self.scored.items()
            },
        )


def counts_over_scores(
    scored: Sequence[tuple[float, bool]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many detections that reach each of `SCORES` are right, and how many do. 2 x [101]."""

    def reaching(scores: list[float]) -> NDArray[np.int64]:
        return len(scores) - np.searchsorted(np.sort(scores), SCORES)

    return reaching([score for score, right in scored if right]), reaching([score for score, _ in scored])


def _f1(right: NDArray[np.int64], kept: NDArray[np.int64], objects: int) -> list[float]:
    values: list[float] = (2 * right / np.maximum(kept + objects, 1)).round(4).tolist()
    return values


def score_thresholds(evaluator: CocoEvaluator) -> ScoreThresholds:
    """Return the thresholds at which an evaluation's boxes have the best F1; see `judge`."""
    return judge(evaluator).thresholds()


def judge(evaluator: CocoEvaluator) -> JudgedDetections:
    """Say of an evaluation's boxes which are right.

    Args:
        evaluator: Holds the detections of all its images.
    """
    images = set(evaluator.image_ids)
    objects: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in evaluator.ground_truth.get("annotations", []):
        if row["image_id"] in images:
            objects[row["category_id"], row["image_id"]].append(row)
    found: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in evaluator.results["bbox"]:
        found[row["category_id"], row["image_id"]].append(row)
    scored: dict[int, list[tuple[float, bool]]] = {ident: [] for ident in evaluator.category_ids}
    for (category, image), rows in found.items():
        if category in scored:
            scored[category] += _judge(rows, objects.get((category, image), []))
    counts = dict.fromkeys(evaluator.category_ids, 0)
    for (category, _), rows in objects.items():
        if category in counts:
            counts[category] += sum(not row.get("iscrowd") for row in rows)
    names = dict(zip(evaluator.category_ids, evaluator.class_names, strict=True))
    return JudgedDetections(
        {name: scored[ident] for ident, name in names.items()},
        {name: counts[ident] for ident, name in names.items()},
    )


def best_threshold(scored: Sequence[tuple[float, bool]], objects: int) -> BestThreshold | None:
    """Return the threshold of the best F1; of several the highest.

    It lies halfway between the lowest score that counts and the highest that does not, where that is a
    number of three decimals.

    Args:
        scored: Score of each detection, and whether it is right.
        objects: Number of objects that could be found.

    Returns:
        None where no detection is right.
    """
    if not any(right for _, right in scored):
        return None
    table = np.array(sorted(scored, reverse=True), dtype=np.float64)
    scores, right = table[:, 0], np.cumsum(table[:, 1])
    count = np.arange(1, len(scores) + 1)
    following = np.append(scores[1:], 0.0)
    f1 = np.where(scores > following, 2 * right / (count + objects), -1.0)
    best = int(f1.argmax())
    return BestThreshold(
        _between(float(following[best]), float(scores[best])),
        round(float(f1[best]), 4),
        round(float(right[best] / count[best]), 4),
        round(float(right[best] / objects), 4),
    )


def _between(low: float, high: float) -> float:
    """Return a number in (low, high], the rounded middle if it is one."""
    middle = round((low + high) / 2, 3)
    return middle if low < middle <= high else high


def _judge(rows: list[dict[str, Any]], objects: list[dict[str, Any]]) -> list[tuple[float, bool]]:
    """Return score and rightness of one image's detections of one class, without those on crowds."""
    rows = sorted(rows, key=lambda row: -row["score"])[:_MOST]
    crowd = np.array([bool(row.get("iscrowd")) for row in objects], dtype=bool)
    if not objects:
        return [(float(row["score"]), False) for row in rows]
    chosen, ignored = assign(_ious(rows, objects, crowd), crowd, MATCH_IOU)
    judged = zip(rows, chosen >= 0, ignored, strict=True)
    return [(float(row["score"]), bool(hit)) for row, hit, beside in judged if not beside]


_MOST = 100  # detections of an image and class that COCO counts


def _ious(
    rows: list[dict[str, Any]], objects: list[dict[str, Any]], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return COCO's IoUs. [D, G]."""
    boxes, truth = (np.array([row["bbox"] for row in some], dtype=np.float64) for some in (rows, objects))
    return np.asarray(coco_mask.iou(boxes, truth, crowd.astype(np.uint8)))
