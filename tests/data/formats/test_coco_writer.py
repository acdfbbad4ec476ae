"""Writing COCO's format: nothing of it is lost."""

import errno
import json

import pytest

from data_folders import turn
from dprd_cli.data.formats.coco_writer import CocoWriter
from dprd_cli.data.formats.conversion_split import ConversionSplit
from dprd_cli.errors import ResourceError


def test_coco_to_coco_loses_nothing(rich, tmp_path):
    summary = turn(rich, tmp_path / "new", "coco")
    assert summary.changes == {"train": {}, "val": {}}
    old, new = (json.loads((folder / "val.json").read_text()) for folder in (rich, tmp_path / "new"))
    assert [{k: v for k, v in one.items() if k != "area"} for one in new["annotations"]] == old["annotations"]
    assert [one["area"] for one in new["annotations"]][2] == 20 * 30
    assert new["categories"] == old["categories"]


def test_a_file_is_whole_or_not_there(rich, tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(ResourceError, match=r"no space for the data set"):
        turn(rich, tmp_path / "new", "coco")
    assert not list((tmp_path / "new").glob("*.json"))


def test_difficult_objects_are_crowds_in_evaluation_alone(tmp_path):
    ann = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 3], "iscrowd": 1}
    marks = {"difficult": True, "where": "p.xml object 1", "segmentation": None}
    tree = {
        "images": [{"id": 1, "file_name": "a/p.jpg", "width": 9, "height": 9, "strays": [7]}],
        "annotations": [{**ann, **marks}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    done = []
    for name, crowd in (("train", 0), ("val", 1)):
        split = ConversionSplit(name, tree, tmp_path, {"a/p.jpg": "p.jpg"})
        CocoWriter(tmp_path).write(split, lambda *counts: done.append(counts))
        written = json.loads((tmp_path / f"{name}.json").read_text())
        assert written["images"] == [{"id": 1, "file_name": "p.jpg", "width": 9, "height": 9}]
        assert written["annotations"] == [{**ann, "iscrowd": crowd, "area": 12.0, "difficult": 1}]
    assert done == [(1, 1), (1, 1)]
