"""Objects and detections as COCO's evaluation takes them: pycocotools' and that of faster-coco-eval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycocotools import mask as coco_mask

from dprd_cli.data.coco_results import Kind
from dprd_cli.data.formats.segmentation import usable_part


def index_coco(
    coco: Callable[[], Any], ground_truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind
) -> tuple[Any, Any]:
    """Return the ground truth and the detections, copied, as `COCOeval` takes them.

    Args:
        coco: The class `COCO` of pycocotools or faster-coco-eval.
        ground_truth: A COCO `instances` dict. Objects without a mask are ignored regions for `segm`.
        results: From `to_coco_results`; may be empty.
        kind: What overlaps: `bbox` or `segm`.
    """
    truth, found = coco(), coco()
    truth.dataset = _truth(ground_truth, kind)
    # not `loadRes`: it fails on an empty list in pycocotools
    found.dataset = {**truth.dataset, "annotations": _found(results, kind)}
    truth.createIndex()
    found.createIndex()
    return truth, found


def _truth(ground_truth: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Copy a ground truth; annotations are numbered from 1, because id 0 reads as "not matched"."""
    annotations = []
    for number, original in enumerate(ground_truth.get("annotations", []), start=1):
        box = original["bbox"]
        annotation = {**original, "id": number, "iscrowd": int(original.get("iscrowd") or 0)}
        if annotation.get("area") is None:
            annotation["area"] = box[2] * box[3]
        mask = usable_part(annotation.get("segmentation")) if kind == "segm" else None
        if mask is not None:
            annotation["segmentation"] = mask
        elif kind == "segm":
            x1, y1, x2, y2 = box[0], box[1], box[0] + box[2], box[1] + box[3]
            annotation |= {"segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]], "iscrowd": 1}
        annotations.append(annotation)
    return {
        "images": ground_truth["images"],
        "categories": ground_truth["categories"],
        "annotations": annotations,
    }


def _found(results: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Copy results as annotations, with what `loadRes` adds; the box's area counts where there is a box."""
    if kind == "segm" and results and "bbox" not in results[0]:
        areas = [float(coco_mask.area(result["segmentation"])) for result in results]
    else:
        areas = [result["bbox"][2] * result["bbox"][3] for result in results]
    return [
        {"area": area, **result, "id": number, "iscrowd": 0}
        for number, (result, area) in enumerate(zip(results, areas, strict=True), start=1)
    ]
