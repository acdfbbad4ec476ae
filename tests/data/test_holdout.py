"""What is held out where there is no evaluation split."""

import json

from data_folders import both_splits, load_split, refused, small_config
from dprd_cli.data.check import check_data
from dprd_cli.data.division import DivisionRule
from dprd_cli.data.formats.coco import CocoAnnotations
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.holdout import HoldoutAnnotations


def parts(folder):
    whole = CocoAnnotations(folder / "train.json", folder / "images")
    return [HoldoutAnnotations(whole, split, DivisionRule(0.3)) for split in ("train", "val")]


def test_the_parts_are_the_whole(cups):
    train, val = (part.read(Problems()) for part in parts(cups))
    whole = json.loads((cups / "train.json").read_text())
    assert (len(train["images"]), len(val["images"])) == (5, 2)
    assert sorted(one["id"] for one in train["images"] + val["images"]) == list(range(1, 8))
    assert len(train["annotations"]) + len(val["annotations"]) == len(whole["annotations"])
    for tree in (train, val):
        assert {ann["image_id"] for ann in tree["annotations"]} <= {image["id"] for image in tree["images"]}


def test_it_has_what_the_whole_has(cups):
    train, val = parts(cups)
    assert (val.images_dir, val.is_voc, val.file_of("p1.png")) == (
        cups / "images",
        False,
        cups / "train.json",
    )
    assert train.name == f"{cups / 'train.json'}, without the 30% held out, seed 0"
    assert val.check(val.read(Problems()), Problems(), missing_ok=False).num_images == 2


def test_one_image_alone_can_be_checked_but_not_trained_on(cups):
    (cups / "val.json").unlink()
    tree = json.loads((cups / "train.json").read_text())
    tree["images"], tree["annotations"] = tree["images"][:1], tree["annotations"][:1]
    (cups / "train.json").write_text(json.dumps(tree))
    train, val = check_data(small_config(cups), workers=0)
    assert (train.counts.images, val.counts) == (1, None)
    assert (
        "no val split, and 1 image in 1 group cannot be divided" in val.problems.kinds["annotations"].line()
    )
    assert "label more images" in refused(lambda: both_splits(small_config(cups)))
    assert len(load_split(cups, "val", holdout=1)) == 1  # all of it can be evaluated on


def test_a_broken_file_is_told_of_by_the_check(cups):
    (cups / "val.json").unlink()
    (cups / "train.json").write_text('{"images": [3], "annotations": [3], "categories": []}')
    assert "images[0] must be an object" in refused(lambda: both_splits(small_config(cups)))
