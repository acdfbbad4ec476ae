"""Which detections are right at each of COCO's IoUs, by class: what an AP over any images needs."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dprd_cli.data.coco_results import Kind
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.coco_index import index_coco


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """One class's detections, best score first, and where its objects are.

    Args:
        images: Number of each detection's image, in 0..N-1. [D]
        right: Whether it finds an object, at each IoU. [T, D]
        ignored: Whether it does not count, because it lies on a crowd. [T, D]
        objects: Number of objects in each image, crowds left out. [N]
    """

    images: NDArray[np.int64]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: NDArray[np.int64]


def class_matches(evaluator: CocoEvaluator, kind: Kind) -> dict[int, ClassMatches]:
    """Match an evaluation's detections with the objects, as pycocotools does: by its own code, once.

    Args:
        evaluator: Holds the detections of all its images; these are numbered by ascending id.
        kind: What overlaps.

    Returns:
        The matches of each class by its category id.
    """
    ids = sorted(evaluator.image_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = index_coco(COCO, evaluator.ground_truth, evaluator.results[kind], kind)
        evaluation = COCOeval(truth, found, iouType=kind)
        params = evaluation.params
        params.imgIds, params.catIds = ids, sorted(evaluator.category_ids)
        params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
        evaluation.evaluate()
    every = evaluation.evalImgs  # class after class, image after image
    return {
        category_id: _collected(every[number * len(ids) : (number + 1) * len(ids)], len(params.iouThrs))
        for number, category_id in enumerate(params.catIds)
    }


def _collected(rows: list[dict[str, Any] | None], ious: int) -> ClassMatches:
    """Return one class's matches in order of the scores, of what pycocotools says of each image."""
    images, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
    right, ignored = [np.zeros((ious, 0), bool)], [np.zeros((ious, 0), bool)]
    objects = np.zeros(len(rows), np.int64)
    for number, row in enumerate(rows):
        if row is None:
            continue
        objects[number] = np.count_nonzero(row["gtIgnore"] == 0)
        images.append(np.full(len(row["dtScores"]), number))
        scores.append(np.asarray(row["dtScores"], dtype=np.float64))
        ignored.append(np.asarray(row["dtIgnore"], dtype=bool))
        right.append((row["dtMatches"] > 0) & ~ignored[-1])
    order = np.argsort(-np.concatenate(scores), kind="mergesort")  # as pycocotools breaks ties
    return ClassMatches(
        images=np.concatenate(images)[order],
        right=np.concatenate(right, axis=1)[:, order],
        ignored=np.concatenate(ignored, axis=1)[:, order],
        objects=objects,
    )
