"""Writing Pascal VOC's format: one xml an image, and a pixel belongs to one object."""

import json

import numpy as np
import pytest
from PIL import Image

from data_folders import load, ring_mask, turn
from dprd_cli.errors import DataError


def test_an_image_of_both_splits_has_one_xml(rich, tmp_path):
    (rich / "val.json").write_text((rich / "train.json").read_text())
    text = "images of both splits, whose annotations here replace those of training"
    assert turn(rich, tmp_path / "voc", "voc").changes["val"][text] == 3


def test_overlapping_masks_in_voc(rich, tmp_path):
    tree = json.loads((rich / "train.json").read_text())
    tree["annotations"][1] |= {"segmentation": [[0, 0, 30, 0, 30, 30, 0, 30]], "bbox": [0, 0, 30, 30]}
    (rich / "train.json").write_text(json.dumps(tree))
    text = "masks partly under a smaller one: a pixel of VOC's belongs to one object"
    assert turn(rich, tmp_path / "voc", "voc").changes["train"][text] == 1
    train, _ = load(tmp_path / "voc")
    masks = train[0].masks
    np.testing.assert_array_equal(masks[0], ring_mask(2, 3, 18))  # the small one is whole
    assert masks[1].sum() == 900 - masks[0].sum()


def test_colours_are_vocs_own(rich, tmp_path):
    turn(rich, tmp_path / "voc", "voc")
    with Image.open(tmp_path / "voc/SegmentationObject/a_x_train.png") as image:
        palette = np.array(image.getpalette()).reshape(-1, 3)
    # the development kit's map: bits 0, 3, 6 of the number are red's from the top, 1, 4, 7 green's, and so on
    assert palette[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert palette[9].tolist() == [192, 0, 0]
    assert palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


def test_boxes_are_columns_from_1_with_both_ends(rich, tmp_path):
    turn(rich, tmp_path / "voc", "voc")
    text = (tmp_path / "voc/Annotations/b_x_train.xml").read_text()
    # [10.5, 8.25, 20, 30]: xmin 10.5 + 1, xmax 10.5 + 20
    sides = ("<xmin>11.5<", "<ymin>9.25<", "<xmax>30.5<", "<ymax>38.25<")
    assert all(side in text for side in sides)
    assert "<segmented>0</segmented>" in text
    assert "<segmented>1</segmented>" in (tmp_path / "voc/Annotations/a_x_train.xml").read_text()
    listed = (tmp_path / "voc/ImageSets/Main/train.txt").read_text().split()
    assert listed == ["a_x_train", "b_x_train", "empty_train"]


def test_images_that_voc_does_not_look_for(rich, tmp_path):
    for split in ("train", "val"):
        path = rich / "images" / f"b/empty_{split}.jpg"
        path.rename(path.with_suffix(".dat"))
        file = rich / f"{split}.json"
        file.write_text(file.read_text().replace(".jpg", ".dat"))
    with pytest.raises(DataError, match=r"b/empty_train.dat: VOC's images end in .jpg, .*; convert it first"):
        turn(rich, tmp_path / "voc", "voc")
