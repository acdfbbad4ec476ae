"""Detections in COCO's results format, from a file: checked, and measured as pycocotools would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools import mask as coco_mask

from dprd_cli.data.formats.ids import TEXT_ID, as_integer
from dprd_cli.data.formats.problems import first_five, plural
from dprd_cli.errors import DataError, short_repr
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.result_images import ImageMatcher, read_image_names
from dprd_cli.files.atomic import read_json

Row = dict[str, Any]
_LARGEST = 1e15  # of box coordinates and scores; not a number is not below it
_KEYS = ("image_id", "category_id", "score", "bbox", "segmentation")


class CategoryMatcher:
    """Finds the category of each row: by its `category_name`, which `dprd predict` writes, or `category_id`.

    Args:
        categories: Entries of the annotations.

    Attributes:
        ids: Their ids.
    """

    def __init__(self, categories: Sequence[Mapping[str, Any]]) -> None:
        self.ids: set[int] = {one["id"] for one in categories}
        self._names: dict[str, int] = {one["name"]: one["id"] for one in categories}
        self._texts: dict[str, int] = {one[TEXT_ID]: one["id"] for one in categories if TEXT_ID in one}

    def find(self, row: Row) -> int | str | None:
        """Return the id in the annotations, an id or name that they lack, or None for what is neither."""
        name, ident = row.get("category_name"), as_integer(row["category_id"])
        if isinstance(name, str):
            return self._names.get(name, name)
        if isinstance(ident, str):
            return self._texts.get(ident)
        return ident if type(ident) is int else None


class FileDetections(NamedTuple):
    """What a results file holds, as pycocotools would count it.

    Args:
        rows: Detections with the annotations' ids.
        notes: Lines that say what does not count, or counts as missed.
    """

    rows: list[Row]
    notes: list[str]


def read_results(path: Path, ground_truth: Mapping[str, Any]) -> FileDetections:
    """Read a COCO results file and check it, row by row.

    Ids may be floats without a fraction. Rows are matched with images by name where there are names
    (`result_images`). An empty `bbox` beside a mask is none. Rows of categories that the annotations lack do
    not count, as with pycocotools, unless all are; a `category_name` says more than a number.

    Args:
        path: A list of `image_id`, `category_id`, `score`, and `bbox` or `segmentation` (RLE), or both.
        ground_truth: The COCO `instances` dict that the rows belong to.

    Raises:
        DataError: If it cannot be read, or a row is broken or belongs to no image, or all to no category.
    """
    rows = read_json(path, "results")
    if not isinstance(rows, list):
        raise DataError(f"{path}: not a COCO results file, which is a list of detections")
    ids = {as_integer(row["image_id"]) for row in rows if _has_plain(row, "image_id")}
    names = read_image_names(path, ids)
    matcher = ImageMatcher(ground_truth, names)
    sizes = {image["id"]: [image["height"], image["width"]] for image in ground_truth["images"]}
    classes = CategoryMatcher(ground_truth["categories"])
    settled: list[Row] = []
    unknown: list[Row] = []
    origin: dict[int, Any] = {}
    for number, row in enumerate(rows):
        found = _settled_row(row, matcher, sizes, classes)
        if isinstance(found, str):
            raise DataError(f"{path}: detection {number}: {found}")
        other = origin.setdefault(found["image_id"], row["image_id"])
        if other != row["image_id"]:
            both = f"{short_repr(other)} and {short_repr(row['image_id'])}"
            raise DataError(f"{path}: image ids {both} are the same image of the annotations; keep one")
        (settled if found["category_id"] in classes.ids else unknown).append(found)
    strange = dict.fromkeys(row["category_id"] for row in unknown)
    if unknown and not settled:
        text = f"all detections are of categories that the annotations lack ({first_five(strange)})"
        raise DataError(f"{path}: {text}; category_id must be the annotations' ({first_five(classes.ids)})")
    kinds = {("bbox" in row, "segmentation" in row) for row in settled}
    if len(kinds) > 1:
        raise DataError(f"{path}: some detections have a box or mask and others none; write them alike")
    notes = []
    if unknown:
        text = f"{plural(len(unknown), 'detection')} of categories that the annotations lack"
        notes.append(f"{path}: {text} ({first_five(strange)}): they do not count")
    notes += _uncovered(path, matcher, names, len(sizes))
    return FileDetections(settled, notes)


def _uncovered(path: Path, matcher: ImageMatcher, names: Mapping[int, str], total: int) -> list[str]:
    """Return a line on images of the annotations that nobody looked at, as far as images.json says."""
    if not names:
        return []
    seen = {matcher.find({"image_id": ident}) for ident in names}
    left = total - sum(type(one) is int for one in seen)
    text = "of the annotations are not in its images.json: their objects count as missed"
    return [f"{path}: {left} of {total} images {text}"] if left else []


def _has_plain(row: Any, key: str) -> bool:
    return isinstance(row, dict) and type(row.get(key)) in (int, float, str)


def _settled_row(
    row: Any, matcher: ImageMatcher, sizes: Mapping[int, list[int]], classes: CategoryMatcher
) -> Row | str:
    """Return a row with the annotations' ids and no more keys than needed, or what is wrong with it."""
    if not isinstance(row, dict):
        return "not an object"
    if row.get("bbox") == [] and "segmentation" in row:
        row = {key: value for key, value in row.items() if key != "bbox"}
    lacking = [key for key in ("image_id", "category_id", "score") if key not in row]
    if lacking or not ("bbox" in row or "segmentation" in row):
        return f"no {', '.join(lacking) or 'bbox or segmentation'}"
    image = matcher.find(row)
    if isinstance(image, str):
        return image
    category = classes.find(row)
    if category is None:
        return f"category_id {short_repr(row['category_id'])} is not in the annotations"
    box = row.get("bbox", [0, 0, 0, 0])
    numbers: list[Any] = [*box, row["score"]] if isinstance(box, list) and len(box) == 4 else [None]
    if not all(type(v) in (int, float) and abs(v) <= _LARGEST for v in numbers):
        return "bbox needs four finite numbers, score one"
    problem = _mask_problem(row["segmentation"], sizes[image]) if "segmentation" in row else ""
    kept = {key: row[key] for key in _KEYS if key in row}
    return problem or kept | {"image_id": image, "category_id": category}


def _mask_problem(mask: Any, size: list[int]) -> str:
    if not (isinstance(mask, dict) and isinstance(mask.get("counts"), str)):
        return "segmentation is not a compressed RLE"
    if mask.get("size") != size:
        return f"the mask is {short_repr(mask.get('size'))}, the image {size}"
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
        rows: Those of `read_results`.
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
