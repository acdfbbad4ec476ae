"""Conversions: round trips between all formats, and what is counted."""

import itertools
import os

import numpy as np
import pytest

from data_folders import load, turn
from dprd_cli.errors import DataError, ResourceError, UsageError


def iou(one, other):
    return (one & other).sum() / max(1, (one | other).sum())


@pytest.mark.parametrize("way", [*itertools.permutations(("coco", "voc", "yolo"))], ids="-".join)
def test_round_trips_keep_images_boxes_masks_and_names(rich, tmp_path, way):
    before = rich
    for number, to in enumerate(way):
        turn(before, tmp_path / str(number), to)
        before = tmp_path / str(number)
    for split, old, new in zip(("train", "val"), load(rich), load(before), strict=True):
        assert set(new.class_names) == {"dog", "traffic light"}
        names = [n.rpartition("/")[2] for n in new.file_names]
        found = {name: new[index] for index, name in enumerate(names)}
        for index, name in enumerate((f"a_x_{split}.png", f"b_x_{split}.png", f"empty_{split}.jpg")):
            mine, theirs = old[index], found[name]
            np.testing.assert_array_equal(mine.image, theirs.image)
            kinds = [
                [data.class_names[label] for label in one.labels]
                for data, one in ((old, mine), (new, theirs))
            ]
            assert kinds[0] == kinds[1][: len(kinds[0])]
            count = len(mine.labels)
            if name.startswith("a_x"):  # YOLO's boxes are those of the polygons
                assert [iou(a, b) > 0.99 for a, b in zip(mine.masks, theirs.masks, strict=True)] == [
                    True,
                    True,
                ]
            assert np.abs(mine.boxes - theirs.boxes[:count]).max(initial=0) < 0.02
            assert theirs.has_mask[:count].tolist() == mine.has_mask.tolist()


def test_what_changes_is_counted(rich, tmp_path):
    assert turn(rich, tmp_path / "voc", "voc").changes == {
        "train": {"crowds left out: VOC has none, and would train on them": 1},
        "val": {"crowds marked as difficult, which evaluation ignores too": 1},
    }
    pieces = "masks of several pieces or with holes joined into one polygon, exactly"
    lost = {pieces: 2, "crowds left out: YOLO has none": 1}
    assert turn(rich, tmp_path / "yolo", "yolo").changes == {"train": lost, "val": lost}
    _, val = load(tmp_path / "voc")
    assert sum(one["iscrowd"] for one in val.coco()["annotations"]) == 1


def test_difficult_objects(voc_folder, tmp_path):
    folder = voc_folder(tmp_path / "voc")
    folder.image("p", ("dog", (5, 5, 34, 40)), ("cat", (40, 4, 63, 20), True), masks=True).lists(
        train="p", val="p"
    )
    turn(folder.path, tmp_path / "coco", "coco")
    old, new = load(folder.path), load(tmp_path / "coco")
    for split in range(2):  # trained on, ignored in evaluation: as before
        assert new[split][0].labels.tolist() == old[split][0].labels.tolist()
        np.testing.assert_array_equal(new[split][0].masks, old[split][0].masks)
    turn(tmp_path / "coco", tmp_path / "again", "voc")
    assert "<difficult>1</difficult>" in (tmp_path / "again/Annotations/p.xml").read_text()
    summary = turn(folder.path, tmp_path / "yolo", "yolo")
    assert summary.changes["val"] == {"difficult objects no longer marked: YOLO has no mark": 1}


@pytest.mark.parametrize("how", ["copy", "link", "none"])
def test_images(rich, tmp_path, how):
    turn(rich, tmp_path / "new", "yolo", images=how)
    path = tmp_path / "new/images/train/a_x_train.png"
    assert path.exists() == (how != "none")
    if how != "none":
        assert os.path.samefile(path, rich / "images/a/x_train.png") == (how == "link")
        assert not path.is_symlink()  # or the check would refuse what leads out of the folder


def test_never_into_the_data_or_over_something(rich, tmp_path):
    for target, fault in (
        (rich / "new", "is inside"),
        (rich, "is inside"),
        (rich / "train.json", "is inside"),
        (tmp_path, "is not empty"),
    ):
        with pytest.raises(UsageError, match=fault):
            turn(rich, target, "voc")
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot create the folder"):
        turn(rich, tmp_path / "file" / "new", "coco")
    (rich / "images/a/x_train.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images missing"):
        turn(rich, tmp_path / "new", "coco")
    assert not (tmp_path / "new").exists()
