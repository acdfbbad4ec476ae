"""Whose a json file is, by how it begins."""

import json

import pytest

from dprd_cli.data.formats.json_kinds import find_json, json_kind
from tool_exports import cvat_coco, datumaro, export, labelme, via_project, via_regions


@pytest.mark.parametrize(
    ("writer", "kind", "number"),
    [
        (cvat_coco, "coco", 1),
        (datumaro, "datumaro", 1),
        (via_project, "via", 1),
        (via_regions, "via", 2),
        (labelme, "labelme", 8),
    ],
)
def test_each_programs_files_are_told_apart(tmp_path, writer, kind, number):
    root, _ = export(writer, tmp_path)
    for other in ("coco", "datumaro", "via", "labelme"):
        assert len(find_json(root, other)) == (number if other == kind else 0)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '[{"image_id": 1}]', '{"categories": []}'])
def test_what_is_nobodys(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert json_kind(tmp_path / "a.json") == ""
    assert json_kind(tmp_path / "gone.json") == ""


def test_a_byte_order_mark_and_a_late_key_change_nothing(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"info": "x" * 5000, "images": [], "annotations": []}), encoding="utf-8-sig")
    assert json_kind(path) == "coco"
    assert find_json(path, "coco") == [path]


def test_files_without_instances_and_hidden_ones_are_left_out(tmp_path):
    for name in ("captions_val.json", "panoptic_val.json", ".hidden.json", "a/b/deep.json", "a/near.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"images": []}')
    assert find_json(tmp_path, "coco") == [tmp_path / "a" / "near.json"]
