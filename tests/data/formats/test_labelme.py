"""labelme's shapes: what each becomes, and a line for every fault."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from data_folders import load_split, refused
from tool_exports import export, labelme, labelme_shape


@pytest.fixture
def folder(tmp_path):
    return export(labelme, tmp_path)[0]


def with_shapes(folder, *shapes):
    """Give the first image some shapes; return its sample, or the line that it is refused with."""
    path = folder / "img_a.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shapes": shapes}))
    return load_split(folder, holdout=0)


def png(mask):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_circles_are_round_and_masks_are_themselves(folder):
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 1:5] = True
    circle = labelme_shape("cat", "circle", [[20, 20], [20, 30]])
    drawn = {**labelme_shape("dog", "mask", [[40, 10], [45, 13]]), "mask": png(mask)}
    sample = with_shapes(folder, circle, drawn)[0]
    np.testing.assert_allclose(sample.boxes, [[10, 10, 30, 30], [41, 11, 45, 13]], atol=0.1)
    assert abs(sample.masks[0].sum() - np.pi * 100) < 15
    np.testing.assert_array_equal(sample.masks[1, 10:14, 40:46], mask)


def test_lines_and_points_are_noted_and_no_objects(folder):
    shapes = [labelme_shape("cat", kind, [[1, 1], [2, 2]]) for kind in ("line", "linestrip", "point")]
    data = with_shapes(folder, *shapes)
    assert len(data[0].boxes) == 0
    # the other seven images have a point each
    line = "10 shapes without an area left out (8 point, 1 line, 1 linestrip)"
    assert line in [
        problem.line().replace("1 line, 1 linestrip, 8 point", "8 point, 1 line, 1 linestrip")
        for problem in data.report.problems.of("note")
    ]


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        (labelme_shape("cat", "polygon", [[1, 1], [2, 2]]), "a polygon of 2 points"),
        (labelme_shape("cat", "rectangle", "x"), "points are 'x', expected [[x, y], ...]"),
        (labelme_shape("cat", "circle", [[1, 1]]), "a circle needs its centre and a point of its edge"),
        (labelme_shape("cat", "mask", [[1, 1], [3, 3]]), "a mask that is no PNG"),
        (labelme_shape("cat", "mask", [[1, 1], [99, 3]]), "a mask that is not inside the image"),
        (labelme_shape("", "rectangle", [[1, 1], [3, 3]]), "has label '', expected a word"),
    ],
)
def test_faults_name_file_and_shape(folder, shape, fault):
    line = refused(lambda: with_shapes(folder, shape))
    assert line.startswith(f"{folder / 'img_a.json'}: shape 1")
    assert fault in line


def test_splits_are_folders(tmp_path):
    for split in ("train", "val"):
        labelme(tmp_path / "set" / split)
    assert [len(load_split(tmp_path / "set", split)) for split in ("train", "val")] == [8, 8]
