"""Detections in COCO's results format."""

import json

import numpy as np
import torch
from pycocotools import mask as rle_masks

from dprd_cli.data.coco_results import to_coco_results
from dprd_cli.ops.masks import paste_masks
from dprd_cli.structures.detections import Detections


def detections(boxes, scores, labels, masks=True, mask_scores=None):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64),
        (100, 100),
        masks=torch.ones(len(boxes), 28, 28) if masks else None,
        mask_scores=None if mask_scores is None else torch.tensor(mask_scores),
    )


def test_results_have_original_ids_xywh_and_each_kind_its_own_score():
    found = detections([[10, 20, 30, 60]], [0.75], [1], mask_scores=[0.5])
    assert to_coco_results(found, 10, (3, 7)) == [
        {"image_id": 10, "category_id": 7, "bbox": [10.0, 20.0, 20.0, 40.0], "score": 0.75}
    ]
    (segm,) = to_coco_results(found, 10, (3, 7), "segm")
    assert (segm["category_id"], segm["score"]) == (7, 0.5)
    assert segm["segmentation"]["size"] == [100, 100]
    json.dumps(segm)


def test_without_masks_there_are_no_mask_results():
    assert to_coco_results(detections([[0, 0, 9, 9]], [0.5], [0], masks=False), 10, (3, 7), "segm") == []


def test_masks_have_the_class_scores_where_there_are_no_scores_of_their_own():
    (segm,) = to_coco_results(detections([[0, 0, 9, 9]], [0.5], [0]), 10, (3, 7), "segm")
    assert segm["score"] == 0.5


def test_masks_are_those_that_are_pasted():
    found = detections([[10, 20, 30, 60], [5.5, 2.5, 9, 99]], [0.75, 0.5], [1, 0])
    pasted = paste_masks(found.masks, found.boxes, (100, 100)).numpy()
    for row, mask in zip(to_coco_results(found, 1, (3, 7), "segm"), pasted, strict=True):
        np.testing.assert_array_equal(rle_masks.decode(row["segmentation"]).astype(bool), mask)


def test_no_detection_is_no_row():
    nothing = detections([], [], [])
    assert to_coco_results(nothing, 1, (3, 7)) == to_coco_results(nothing, 1, (3, 7), "segm") == []
