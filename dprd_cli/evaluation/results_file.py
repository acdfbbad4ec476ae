"""Detections in COCO's results format, from a file: checked, and measured as pycocotools would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from dprd_cli.errors import DataError
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.files.atomic import read_json

Row = dict[str, Any]
_LARGEST = 1e15  # of box coordinates and scores; not a number is not below it
_KEYS = ("image_id", "category_id", "score", "bbox", "segmentation")


def read_results(path: Path, ground_truth: Mapping[str, Any]) -> list[Row]:
    """Read a COCO results file and check it, row by row.

    Args:
        path: A list of `image_id`, `category_id`, `score`, and `bbox` or `segmentation` (RLE), or both.
        ground_truth: The COCO `instances` dict that the rows belong to.

    Raises:
        DataError: If it cannot be read, or a row is broken or belongs to no image or category.
    """
    rows = read_json(path, "results")
    if not isinstance(rows, list):
        raise DataError(f"{path}: not a COCO results file, which is a list of detections")
    sizes = {image["id"]: [image["height"], image["width"]] for image in ground_truth["images"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    for number, row in enumerate(rows):
        if problem := _problem(row, sizes, categories):
            raise DataError(f"{path}: detection {number}: {problem}")
    kinds = {("bbox" in row, "segmentation" in row) for row in rows}
    if len(kinds) > 1:
        raise DataError(f"{path}: some detections have a box or mask and others none; write them alike")
    return [{key: row[key] for key in _KEYS if key in row} for row in rows]


def _problem(row: Any, sizes: Mapping[int, list[int]], categories: set[int]) -> str:
    """Return what is wrong with a row, or an empty string."""
    if not isinstance(row, dict):
        return "not an object"
    lacking = [key for key in ("image_id", "category_id", "score") if key not in row]
    if lacking or not ("bbox" in row or "segmentation" in row):
        return f"no {', '.join(lacking) or 'bbox or segmentation'}"
    for key, known in (("image_id", sizes), ("category_id", categories)):
        if type(row[key]) is not int or row[key] not in known:
            return f"{key} {row[key]!r} is not in the annotations"
    box = row.get("bbox", [0, 0, 0, 0])
    numbers: list[Any] = [*box, row["score"]] if isinstance(box, list) and len(box) == 4 else [None]
    if not all(type(v) in (int, float) and abs(v) <= _LARGEST for v in numbers):
        return "bbox needs four finite numbers, score one"
    if "segmentation" not in row:
        return ""
    return _mask_problem(row["segmentation"], sizes[row["image_id"]])


def _mask_problem(mask: Any, size: list[int]) -> str:
    if not (isinstance(mask, dict) and isinstance(mask.get("counts"), str)):
        return "segmentation is not a compressed RLE"
    if mask.get("size") != size:
        return f"the mask is {mask.get('size')}, the image {size}"
    try:
        coco_mask.decode(mask)
    except (ValueError, TypeError) as error:
        return f"segmentation is broken ({error})"
    return ""


def collect_results(
    rows: list[Row],
    ground_truth: dict[str, Any],
    category_ids: tuple[int, ...],
    class_names: tuple[str, ...],
) -> CocoEvaluator:
    """Return an evaluator that holds results, over all images of the ground truth.

    Law: its `bbox` and `segm` metrics are pycocotools' `stats` of `loadRes` of the same rows, to the last
    digit.

    Args:
        rows: From `read_results`.
        ground_truth: A COCO `instances` dict.
        category_ids: Original category id of each class. [K]
        class_names: Name of each class. [K]
    """
    masks = bool(rows) and "segmentation" in rows[0]
    evaluator = CocoEvaluator(ground_truth, category_ids, class_names, with_masks=masks)
    evaluator.image_ids = [image["id"] for image in ground_truth["images"]]
    if masks:
        evaluator.results["segm"] = rows
    if masks and "bbox" not in rows[0]:  # the areas are the masks' for boxes too
        areas = [float(coco_mask.area(row["segmentation"])) for row in rows]
        boxes = [coco_mask.toBbox(row["segmentation"]).tolist() for row in rows]
        rows = [{**r, "bbox": box, "area": a} for r, box, a in zip(rows, boxes, areas, strict=True)]
    evaluator.results["bbox"] = rows
    return evaluator
