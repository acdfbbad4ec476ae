"""Rows of images: read or not, the same whatever reads ahead."""

import os
from pathlib import Path

import numpy as np
import pytest

from dprd_cli.distributed.detect import DetectOptions, ImageDetector
from dprd_cli.distributed.pieces import ImageItem
from dprd_cli.errors import DataError
from dprd_cli.inference.predictor import Predictor


def rows_of(names, model, **options):
    detector = ImageDetector(DetectOptions("", **options), model)
    return list(detector.rows(ImageItem(name, number) for number, name in enumerate(names, start=1)))


@pytest.mark.parametrize("options", [{}, {"batch_size": 3}, {"readers": 0}, {"batch_size": 8, "readers": 4}])
def test_each_image_has_a_row_and_those_that_cannot_be_read_have_an_error(images, left_half, options):
    rows = rows_of(images, left_half(), **options)
    assert [(row.file, row.image_id) for row in rows] == list(zip(images, range(1, 9), strict=True))
    assert "no such file" in rows[2].error
    assert "not an image" in rows[4].error
    assert all(not row.error for number, row in enumerate(rows) if number not in (2, 4))
    assert [(row.width, row.height) for row in rows[:3]] == [(64, 50), (64, 50), (0, 0)]


def test_detections_are_the_records_of_results_json(images, left_half):
    row = rows_of(images, left_half(), parts=True)[0]
    alone = Predictor(left_half()).prepare_any(images[0])
    expected = next(iter(Predictor(left_half()).predict_inputs([alone], 1))).to_coco(1)
    assert [record.pop("category_name") for record in row.detections] == ["cat", "cat"]
    assert row.detections == expected
    assert "part_boxes" in row.detections[0]


def test_low_scores_and_masks_can_be_left_out(images, left_half):
    row = rows_of(images, left_half(), min_score=0.5, masks=False)[0]
    assert [sorted(record) for record in row.detections] == [
        ["bbox", "category_id", "category_name", "image_id", "score"]
    ]


def test_relative_names_bytes_and_urls_are_read(images, left_half, tmp_path, monkeypatch):
    content = Path(images[0]).read_bytes()
    monkeypatch.setattr("dprd_cli.inference.predictor.read_url", lambda url: content)
    monkeypatch.setattr("dprd_cli.distributed.detect.read_file", lambda url, most: content)
    items = [
        ImageItem("in/0.png", 1),
        ImageItem("a.tar/0.png", 2, content),
        ImageItem("https://a.b/0.png", 3),
        ImageItem("s3://a/0.png", 4),
        ImageItem("a.tar/1.png", 5, b"text"),
        ImageItem("a.tar", 6, error="breaks off"),
    ]
    detector = ImageDetector(DetectOptions("", folder=str(tmp_path)), left_half())
    rows = list(detector.rows(items))
    assert [row.width for row in rows] == [64, 64, 64, 64, 0, 0]
    assert rows[4].error.startswith("a.tar/1.png: not an image")
    assert rows[5].error == "breaks off"

    def fail(url, most):
        raise DataError(f"{url}: no rights")

    monkeypatch.setattr("dprd_cli.distributed.detect.read_file", fail)
    assert [row.error for row in detector.rows(items[3:4])] == ["s3://a/0.png: no rights"]


def test_options_tell_what_rows_depend_on():
    here = DetectOptions("a.pt").to_json()
    assert here["folder"] == os.getcwd()
    assert here == DetectOptions("b.pt", "cuda", readers=9).to_json()
    assert here != DetectOptions("a.pt", batch_size=2).to_json()


def test_a_batch_of_ray_data_becomes_a_table(images, left_half):
    pytest.importorskip("pyarrow")
    detector = ImageDetector(DetectOptions(""), left_half())
    table = detector({"path": np.array(images), "image_id": np.arange(8)})
    assert table["file"].to_pylist() == images
    assert table["image_id"].to_pylist() == list(range(8))
    assert [bool(text) for text in table["error"].to_pylist()] == [n in (2, 4) for n in range(8)]
    content = Path(images[0]).read_bytes()
    table = detector({"bytes": [content]})
    assert (table["file"].to_pylist(), table["width"].to_pylist()) == ([""], [64])
    with pytest.raises(ValueError, match="expected one of the columns file, "):
        detector({"pixels": [content]})
