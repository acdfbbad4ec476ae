"""What single operations are timed on: generated boxes, masks and results, and the same answers of both."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from dprd_cli.benchmark import operations
from dprd_cli.benchmark.operations import evaluation, paste, roialign


def silent(done, total):
    pass


def test_roialign_has_the_same_values_and_gradients():
    report = roialign((64, 96), 12, 1, torch.device("cpu"), silent)
    assert report.same
    assert report.settings["rois"] == 12
    first, second, third, fourth = report.timings.values()
    assert report.rows[0].value == first.median / second.median
    assert report.rows[1].value == third.median / fourth.median


def test_masks_that_are_pasted_are_the_same_up_to_torchvisions_rounding():
    report = paste((96, 128), 10, 1, silent)
    assert report.same
    theirs, ours = report.timings.values()
    assert report.rows[0].value == theirs.median / ours.median


def test_evaluations_are_the_same_to_the_last_bit():
    report = evaluation(3, 1, silent, per_image=(4, 10))
    assert report.same
    assert report.settings["detections"] == 30
    assert "equal to the last bit" in report.answers


def test_a_different_number_is_a_different_answer(monkeypatch):
    usual = operations.accumulate

    def other(*arguments, backend, **more):
        found = usual(*arguments, backend=backend, **more)
        if backend == "faster":
            found.stats[0] += 1e-9
        return found

    monkeypatch.setattr(operations, "accumulate", other)
    report = evaluation(2, 1, silent, per_image=(4, 10))
    assert report.same is False
    assert "DIFFERENT" in report.answers


def test_generated_objects_and_detections_are_valid_and_the_same_each_time():
    truth, results = operations.generate(4, 5, 10)
    assert (truth, results) == operations.generate(4, 5, 10)
    assert {row["image_id"] for row in results} <= {image["id"] for image in truth["images"]}
    ids = [annotation["id"] for annotation in truth["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        assert 0 <= x < x + w <= 640 + 1e-6
        assert 0 <= y < y + h <= 480 + 1e-6
    areas = [annotation["area"] for annotation in truth["annotations"]]
    rles = [coco_mask.frPyObjects(one["segmentation"], 480, 640)[0] for one in truth["annotations"]]
    # a polygon of 24 corners within an ellipse: 24 / 2 sin(2 pi / 24) / pi of its area
    share = 12 * np.sin(np.pi / 12) / np.pi
    large = [n for n, area in enumerate(areas) if area > 5000]
    assert len(large) > 2
    for n in large:
        assert coco_mask.area(rles[n]) == pytest.approx(share * areas[n], rel=0.05)
