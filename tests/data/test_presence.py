"""Splits without anything to learn from."""

import pytest

from data_folders import load_split, refused, write_split
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.presence import check_presence


def told(anns, split="train", **options):
    tree = {"images": [{}] * 3, "annotations": anns, "categories": [{"id": 1, "name": "cat"}, {"id": 2}]}
    problems = Problems()
    check_presence(tree, split, "a.json", problems, **options)
    return [(problem.severity, problem.kind, problem.line()) for problem in problems.kinds.values()]


def test_no_object_at_all():
    assert told([]) == [
        ("error", "no objects", "a.json: no object in 3 images of train: nothing would be learned")
    ]
    (problem,) = told([], "val")
    assert problem[0] == "warning"
    assert problem[2].endswith("of val: nothing would be measured")
    assert told([{"category_id": 1}], left_out=1)[0][1] == "no objects"


def test_crowds_alone():
    ((severity, _, line),) = told([{"category_id": 1, "iscrowd": 1}] * 4)
    assert (severity, line) == (
        "error",
        "a.json: all 4 annotations of train have iscrowd 1 (CVAT and Datumaro write it for brush masks): "
        "nothing would be learned",
    )
    ((severity, kind, line),) = told([{"category_id": 1, "iscrowd": 1}, {"category_id": 2}])
    assert (severity, kind) == ("warning", "crowds alone")
    assert line.startswith("1 class with iscrowd 1 in every annotation (cat): ")
    assert told([{"category_id": 1, "iscrowd": 1, "difficult": True}]) == []  # VOC's are objects


@pytest.mark.parametrize("crowds", ["ignore", "objects"])
def test_crowds_can_be_taken_for_objects(tmp_path, crowds):
    path = tmp_path / "train.json"
    write_split(path, tmp_path / "images", 3)
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))
    if crowds == "objects":
        data = load_split(tmp_path, holdout=0, crowds="objects")
        assert len(data.labels) == 2
        assert {ann["iscrowd"] for ann in data.coco()["annotations"]} == {0}
    else:
        assert refused(lambda: load_split(tmp_path, holdout=0)).endswith(
            "set iscrowd to 0, or take them for objects with --set data.crowds=objects"
        )
