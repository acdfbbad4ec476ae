"""Detections in COCO's results format."""

from __future__ import annotations

from typing import Any, Literal

from dprd_cli.ops.masks import encode_rle
from dprd_cli.structures.detections import Detections

Kind = Literal["bbox", "segm"]


def to_coco_results(
    detections: Detections,
    image_id: int,
    category_ids: tuple[int, ...],
    kind: Kind = "bbox",
    segmentations: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Turn detections into COCO's results format, JSON-serialisable.

    Args:
        detections: In the frame of the original image.
        image_id: Id of the image in the annotation file.
        category_ids: Original category id of each class index. [K]
        kind: `bbox` gives boxes (xywh) with class scores, `segm` gives RLE masks with mask scores.
        segmentations: `encode_rle`'s answer, where it is known already.

    Returns:
        One dict per detection; none for `segm` where the detector gives no masks.
    """
    if kind == "segm" and detections.masks is None:
        return []
    scores = detections.scores
    if kind == "segm":
        assert detections.masks is not None
        if segmentations is None:
            segmentations = encode_rle(detections.masks, detections.boxes, detections.image_size)
        values: list[Any] = segmentations
        scores = scores if detections.mask_scores is None else detections.mask_scores
    else:
        boxes = detections.boxes.double()
        values = [[x, y, x2 - x, y2 - y] for x, y, x2, y2 in boxes.tolist()]
    name = "segmentation" if kind == "segm" else "bbox"
    rows = zip(detections.labels.tolist(), values, scores.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category_ids[label], name: value, "score": score}
        for label, value, score in rows
    ]
