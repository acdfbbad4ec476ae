"""Statistics of a split, by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from dprd_cli.config.model_schema import RPNConfig
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset
from dprd_cli.data.statistics import split_statistics


def statistics(tmp_path, notes, ratios=(1.0,)):
    """Measure two images of 200 x 100, which are tested at 400 x 200."""
    (tmp_path / "images").mkdir()
    images = [{"id": n, "file_name": f"{n}.png", "width": 200, "height": 100} for n in (1, 2)]
    for image in images:
        Image.new("RGB", (200, 100)).save(tmp_path / "images" / image["file_name"])
    base = {"image_id": 1, "category_id": 4, "iscrowd": 0}
    notes = [{**base, "id": n, **note} for n, note in enumerate(notes, start=1)]
    categories = [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}]
    (tmp_path / "val.json").write_text(
        json.dumps({"images": images, "annotations": notes, "categories": categories})
    )
    config = DataConfig(path=str(tmp_path), test_min_size=200, max_size=1000)
    val = build_dataset(config, "val")
    return split_statistics(
        val, "val", config, RPNConfig(anchor_sizes=(32, 64, 64, 64, 64), aspect_ratios=ratios)
    )


def test_by_hand(tmp_path):
    found = statistics(
        tmp_path,
        [
            {"bbox": [0, 0, 32, 32], "segmentation": [[0, 0, 31, 0, 31, 31, 0, 31]]},  # 961: small
            {"bbox": [0, 0, 32, 32]},  # its box's 1024: medium. At test size 64 x 64, an anchor's own
            {"bbox": [0, 0, 96, 96], "category_id": 9, "area": 9216},  # large; 192 x 192
            {"bbox": [10, 10, 16, 64], "image_id": 1},  # 32 x 128, of which a 64 x 64 anchor shares 32 x 64
            {"bbox": [0, 0, 50, 50], "iscrowd": 1},
            {"bbox": [0, 0, 0, 50]},  # no object
        ],
    ).to_json()
    assert (found["images"], found["without_objects"], found["objects"], found["crowds"]) == (2, 1, 4, 1)
    assert (found["with_masks"], found["sizes"]) == (1, {"small": 1, "medium": 2, "large": 1})
    assert found["per_image"]["median"] == 2  # of 4 and 0
    assert found["side_at_test_size"]["median"] == 64  # of 64, 64, 192 and 64
    # IoU 1, 1, 64^2 / 192^2 = 1/9, and 2048 / (4096 + 4096 - 2048) = 1/3
    assert found["anchors"]["mean_best_iou"] == pytest.approx((1 + 1 + 1 / 9 + 1 / 3) / 4, abs=1e-4)
    assert (found["anchors"]["share_above_0.5"], found["anchors"]["share_above_0.7"]) == (0.5, 0.5)
    assert found["classes"] == [
        {"name": "cat", "objects": 3, "images": 1, "masks": 1, "median_side": 32.0},
        {"name": "dog", "objects": 1, "images": 1, "masks": 0, "median_side": 96.0},
    ]


def test_an_anchor_of_the_right_ratio_fits(tmp_path):
    best = statistics(tmp_path, [{"bbox": [10, 10, 16, 64]}], ratios=(0.25, 1.0, 4.0)).anchor_ious()
    np.testing.assert_allclose(best, [1.0])  # 32 x 128 has area 64^2 and ratio 4


def test_without_any_object(tmp_path):
    found = statistics(tmp_path, [])
    assert found.to_json()["side_at_test_size"] == {"5%": None, "median": None, "95%": None}
    assert found.to_json()["anchors"]["mean_best_iou"] is None
    assert found.per_image.tolist() == [0, 0]
