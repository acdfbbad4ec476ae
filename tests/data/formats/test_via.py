"""VIA's regions: shapes, and which attribute is the class."""

import json

import numpy as np
import pytest

from data_folders import load_split, refused
from dprd_cli.data.formats.via import class_attribute
from tool_exports import export, via_project


def regions(*attributes):
    return [{"region_attributes": one} for one in attributes]


def test_the_attribute_that_is_the_class():
    assert class_attribute(regions({"colour": "red", "Type": "cat"}, {"colour": "blue"})) == "Type"
    assert class_attribute(regions({"animal": "cat"}, {"animal": "dog", "note": "x"})) == "animal"
    assert class_attribute(regions({}, {"animal": " "}, {"parts": {"a": True}}, None)) == ""
    assert class_attribute([]) == ""


def with_regions(folder, *shapes, attributes=None):
    (path,) = folder.glob("*.json")
    tree = json.loads(path.read_text())
    named = {"animal": "cat"} if attributes is None else attributes
    found = [{"shape_attributes": shape, "region_attributes": named} for shape in shapes]
    for entry in tree["_via_img_metadata"].values():
        entry["regions"] = found
    path.write_text(json.dumps(tree))
    return load_split(folder, holdout=0)


def test_round_shapes(tmp_path):
    folder, _ = export(via_project, tmp_path)
    circle = {"name": "circle", "cx": 20, "cy": 20, "r": 10}
    oval = {"name": "ellipse", "cx": 40, "cy": 20, "rx": 10, "ry": 5, "theta": np.pi / 2}
    boxes = with_regions(folder, circle, oval)[0].boxes
    np.testing.assert_allclose(boxes, [[10, 10, 30, 30], [35, 10, 45, 30]], atol=0.1)


def test_regions_without_attributes_are_of_one_class(tmp_path):
    folder, _ = export(via_project, tmp_path)
    data = with_regions(folder, {"name": "rect", "x": 1, "y": 2, "width": 9, "height": 8}, attributes={})
    assert data.class_names == ("object",)
    notes = [problem.line() for problem in data.report.problems.of("note")]
    assert notes == ["regions have no attribute: all are 'object'"]


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        (
            {"name": "rect", "x": 1, "y": "2"},
            "x, y, width, height are [1, '2', None, None], expected numbers",
        ),
        ({"name": "star"}, "a shape of name 'star'"),
        ({"name": "polygon", "all_points_x": [1, 2]}, "a polygon needs all_points_x and all_points_y of one"),
        (None, "shape_attributes are None"),
    ],
)
def test_faults_name_the_region(tmp_path, shape, fault):
    folder, _ = export(via_project, tmp_path)
    assert f"shape 1: {fault}" in refused(lambda: with_regions(folder, shape))


def test_two_files_for_one_part(tmp_path):
    folder, _ = export(via_project, tmp_path)
    (path,) = folder.glob("*.json")
    (folder / "b.json").write_text(path.read_text())
    assert "2 files of VIA's (b.json, via_project_28Nov2026.json); keep one for each split" in refused(
        lambda: load_split(folder)
    )
