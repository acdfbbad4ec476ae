"""Pascal VOC's average precision (AP), by the rules of its development kit.

The detections of a class, best score first over all images, are each held against the object of that class
and image that they overlap most. Where the overlap reaches the threshold, the first detection of an object
is right and later ones are wrong, even if another object would have been free; those of a difficult object do
not count. All other detections are wrong.

Source: `VOCevaldet.m` of the development kits of 2007 (11 points) and of 2010 and later (all points).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Points = Literal["11_point", "all_point"]
POINTS: tuple[Points, ...] = ("11_point", "all_point")
#: IoU thresholds of the mean AP: COCO's, and those of Detectron2's VOC evaluation.
THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class VocClassMetrics:
    """VOC's metrics of one class.

    Args:
        name: Class name.
        objects: Objects in the evaluated images, difficult ones left out.
        ap50: AP at IoU 0.5 in percent, by each rule; None without objects.
    """

    name: str
    objects: int
    ap50: dict[Points, float | None]


@dataclass(frozen=True, slots=True)
class VocMetrics:
    """VOC's AP in percent; None where no object counts.

    Args:
        means: By each rule the means over the classes: `AP50` (VOC's mAP), `AP75`, and `AP` (the mean over
            `THRESHOLDS`).
        classes: Per class, in the order of the class indices.
    """

    means: dict[Points, dict[str, float | None]]
    classes: tuple[VocClassMetrics, ...]

    def metrics(self) -> dict[str, float | None]:
        """Return the means flat, as a row of the training's metrics file: `voc_11_point_AP50`, ..."""
        return {
            f"voc_{points}_{name}": value for points in POINTS for name, value in self.means[points].items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the means under the rules' names, and `classes`, as plain containers."""
        classes = [{"name": row.name, "objects": row.objects, **row.ap50} for row in self.classes]
        return {"11_point": self.means["11_point"], "all_point": self.means["all_point"], "classes": classes}


def voc_metrics(
    ground_truth: dict[str, Any],
    results: Rows,
    *,
    image_ids: list[int],
    category_ids: tuple[int, ...],
    class_names: tuple[str, ...],
) -> VocMetrics:
    """Return VOC's AP over all classes and for each.

    Args:
        ground_truth: A COCO `instances` dict, in which difficult objects are crowds.
        results: From `to_coco_results`.
        image_ids: Images that count.
        category_ids: Original category id of each class index. [K]
        class_names: Name of each class index. [K]
    """
    images = set(image_ids)
    objects = _by_category(row for row in ground_truth["annotations"] if row["image_id"] in images)
    found = _by_category(results)
    table = np.full((len(category_ids), len(POINTS), len(THRESHOLDS)), np.nan)
    classes: list[VocClassMetrics] = []
    for row, (category_id, name) in enumerate(zip(category_ids, class_names, strict=True)):
        overlaps = best_overlaps(objects[category_id], found[category_id])
        num_objects = sum(not one["iscrowd"] for one in objects[category_id])
        for column, threshold in enumerate(THRESHOLDS if num_objects else ()):
            right = judge(*overlaps, threshold)
            table[row, :, column] = [100 * average_precision(right, num_objects, points) for points in POINTS]
        values = {points: _number(value) for points, value in zip(POINTS, table[row, :, 0], strict=True)}
        classes.append(VocClassMetrics(name, num_objects, values))
    known = table[~np.isnan(table[:, 0, 0])]
    means = known.mean(axis=0) if len(known) else np.full(table.shape[1:], np.nan)  # [2 kinds, T]
    totals: dict[Points, dict[str, float | None]] = {
        points: {"AP": _number(row.mean()), "AP50": _number(row[0]), "AP75": _number(row[5])}
        for points, row in zip(POINTS, means, strict=True)
    }
    return VocMetrics(totals, tuple(classes))


def best_overlaps(
    objects: Rows, results: Rows
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Sort the detections of a class by score, and find the object that each overlaps most.

    VOC counts columns of pixels from 1 and includes both ends, so it adds 1 to differences: xmin..xmax is as
    wide as the span from xmin - 1 to xmax, and its overlaps are the IoUs of those spans.

    Args:
        objects: Annotations of the class.
        results: Its detections; equal scores keep their order.

    Returns:
        IoU with that object, best score first (0 where the image has none) [D]; its index in `objects` [D];
        which objects are difficult [G].
    """
    order = np.argsort([-row["score"] for row in results], kind="stable")
    iou, index = np.zeros(len(results)), np.zeros(len(results), dtype=np.int64)
    places: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, row in enumerate(objects):
        places[row["image_id"]][0].append(number)
    for place, number in enumerate(order.tolist()):
        places[results[number]["image_id"]][1].append(place)
    for theirs, ours in places.values():
        if theirs and ours:
            boxes = [np.array([results[order[place]]["bbox"] for place in ours], dtype=np.float64)]
            boxes.append(np.array([objects[number]["bbox"] for number in theirs], dtype=np.float64))
            overlaps = coco_mask.iou(*boxes, [0] * len(theirs))  # [D, G]
            iou[ours], index[ours] = overlaps.max(axis=1), np.array(theirs)[overlaps.argmax(axis=1)]
    return iou, index, np.array([bool(row["iscrowd"]) for row in objects], dtype=bool)


def judge(
    iou: NDArray[np.float64], index: NDArray[np.int64], difficult: NDArray[np.bool_], threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Return which detections are right, best score first, without those that do not count. [at most D].

    Args:
        iou: As `best_overlaps` returns it. [D]
        index: The same. [D]
        difficult: The same. [G]
        threshold: IoU that a detection must reach.
    """
    reached = iou >= threshold
    counts = ~reached
    counts[reached] = ~difficult[index[reached]]
    hits = np.flatnonzero(reached & counts)
    right = np.zeros(len(iou), dtype=bool)
    right[hits[np.unique(index[hits], return_index=True)[1]]] = True  # the first of each object
    return right[counts]


def average_precision(right: NDArray[np.bool_], num_objects: int, points: Points) -> float:
    """Return the AP, 0..1: the mean of the best precision that is to be had at or beyond each recall.

    Args:
        right: Which detections are right, best score first. [D]
        num_objects: Objects that could be found; at least 1.
        points: `11_point`: at the recalls 0, 0.1, ..., 1. `all_point`: at those of each object found, which
            is the area under the curve.
    """
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)  # from each detection on
    if points == "all_point":
        return float(best[:-1][right].sum() / num_objects)
    # recall >= k / 10, in whole numbers: as floats 3 / 10 < 3 * 0.1
    return float(best[np.searchsorted(10 * found, np.arange(11) * num_objects)].mean())


def _by_category(rows: Any) -> dict[int, Rows]:
    groups: dict[int, Rows] = defaultdict(list)
    for row in rows:
        groups[row["category_id"]].append(row)
    return groups


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
