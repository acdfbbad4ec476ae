"""Writing YOLO's format: a plain description, and lines by hand."""

import json

import yaml

from data_folders import turn


def test_the_description_is_plain_yaml(rich, tmp_path):
    turn(rich, tmp_path / "new", "yolo")
    tree = yaml.safe_load((tmp_path / "new/data.yaml").read_text())
    assert tree == {"train": "images/train", "val": "images/val", "names": {0: "dog", 1: "traffic light"}}
    assert (tmp_path / "new/labels/val/empty_val.txt").read_text() == ""
    # [10.5, 8.25, 20, 30] in 64 x 48: centre 20.5/64, 23.25/48, size 20/64, 30/48
    assert (tmp_path / "new/labels/val/b_x_val.txt").read_text() == "0 0.320312 0.484375 0.3125 0.625\n"


def test_a_mask_of_pieces_is_one_polygon_and_a_box_that_is_nothing_is_left_out(rich, tmp_path):
    tree = json.loads((rich / "train.json").read_text())
    tree["annotations"][2]["bbox"] = [80, 8, 20, 30]  # right of the image, which is 64 wide
    (rich / "train.json").write_text(json.dumps(tree))
    changes = turn(rich, tmp_path / "new", "yolo").changes["train"]
    assert changes["masks of several pieces or with holes joined into one polygon, exactly"] == 2
    assert changes["objects left out: the box, clipped to the image, has no area"] == 1
    assert (tmp_path / "new/labels/train/b_x_train.txt").read_text() == ""
    lines = (tmp_path / "new/labels/train/a_x_train.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    # the pieces have 3 and 4 corners; the bridge goes there and back: 3 + 4 + 2 corners
    assert len(lines[1].split()) == 1 + 2 * (3 + 4 + 2)


def test_images_of_both_kinds_are_counted(rich, tmp_path):
    tree = json.loads((rich / "val.json").read_text())
    tree["annotations"][2]["image_id"] = 10  # a box beside two masks
    (rich / "val.json").write_text(json.dumps(tree))
    changes = turn(rich, tmp_path / "new", "yolo").changes["val"]
    assert changes["images whose objects have masks and boxes, which Ultralytics does not read"] == 1
