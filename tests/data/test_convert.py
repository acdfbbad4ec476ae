"""Conversions: round trips between all formats, and what is counted."""

import itertools
import json
import os

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as rle_masks

from data_folders import both_splits
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.convert import convert
from dprd_cli.errors import DataError, UsageError

HEIGHT, WIDTH = 48, 64


def rle(mask):
    counts = rle_masks.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def ring_mask(x, y, side):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + side, x : x + side] = True
    mask[y + side // 3 : y + side // 2, x + side // 3 : x + side // 2] = False
    return mask


def note(ident, image, category, box, segmentation=None, **more):
    return {"id": ident, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **more} | (
        {"segmentation": segmentation} if segmentation else {}
    )


@pytest.fixture
def source(tmp_path):
    """A COCO folder with polygons, holes, pieces, boxes, a crowd, an empty image, and equal file names."""
    root = tmp_path / "source"
    for split in ("train", "val"):
        images, notes = [], []
        names = [f"a/x_{split}.png", f"b/x_{split}.png", f"b/empty_{split}.jpg"]
        for ident, name in enumerate(names, start=1):
            (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(ident).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / "images" / name)
            images.append({"id": 10 * ident, "file_name": name, "width": WIDTH, "height": HEIGHT})
        notes.append(note(1, 10, 3, [2, 3, 18, 18], rle(ring_mask(2, 3, 18))))
        notes.append(
            note(2, 10, 7, [25, 5, 30, 20], [[25, 5, 40, 5, 40, 25], [45, 5, 55, 5, 55, 25, 45, 25]])
        )
        notes.append(note(3, 20, 3, [10.5, 8.25, 20, 30]))
        notes.append(note(4, 20, 7, [40, 8, 20, 20], rle(ring_mask(40, 8, 20)), iscrowd=1))
        categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "traffic light"}]
        tree = {"images": images, "annotations": notes, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(tree))
    return root


def load(folder):
    return both_splits(DataConfig(path=str(folder), workers=0))


def turn(source, target, to, **options):
    return convert(DataConfig(path=str(source)), target, to, **options)


def iou(one, other):
    return (one & other).sum() / max(1, (one | other).sum())


@pytest.mark.parametrize("way", [*itertools.permutations(("coco", "voc", "yolo"))], ids="-".join)
def test_round_trips_keep_images_boxes_masks_and_names(source, tmp_path, way):
    before = source
    for number, to in enumerate(way):
        turn(before, tmp_path / str(number), to)
        before = tmp_path / str(number)
    for split, old, new in zip(("train", "val"), load(source), load(before), strict=True):
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


def test_coco_to_coco_loses_nothing(source, tmp_path):
    summary = turn(source, tmp_path / "new", "coco")
    assert summary.changes == {"train": {}, "val": {}}
    old, new = (json.loads((folder / "val.json").read_text()) for folder in (source, tmp_path / "new"))
    assert [{k: v for k, v in one.items() if k != "area"} for one in new["annotations"]] == old["annotations"]
    assert [one["area"] for one in new["annotations"]][2] == 20 * 30
    assert new["categories"] == old["categories"]


def test_what_changes_is_counted(source, tmp_path):
    assert turn(source, tmp_path / "voc", "voc").changes == {
        "train": {"crowds left out: VOC has none, and would train on them": 1},
        "val": {"crowds marked as difficult, which evaluation ignores too": 1},
    }
    pieces = "masks of several pieces or with holes joined into one polygon, exactly"
    lost = {pieces: 2, "crowds left out: YOLO has none": 1}
    assert turn(source, tmp_path / "yolo", "yolo").changes == {"train": lost, "val": lost}
    _, val = load(tmp_path / "voc")
    assert sum(one["iscrowd"] for one in val.coco()["annotations"]) == 1


def test_an_image_of_both_splits_has_one_xml(source, tmp_path):
    (source / "val.json").write_text((source / "train.json").read_text())
    text = "images of both splits, whose annotations here replace those of training"
    assert turn(source, tmp_path / "voc", "voc").changes["val"][text] == 3


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


def test_overlapping_masks_in_voc(source, tmp_path):
    tree = json.loads((source / "train.json").read_text())
    tree["annotations"][1] |= {"segmentation": [[0, 0, 30, 0, 30, 30, 0, 30]], "bbox": [0, 0, 30, 30]}
    (source / "train.json").write_text(json.dumps(tree))
    text = "masks partly under a smaller one: a pixel of VOC's belongs to one object"
    assert turn(source, tmp_path / "voc", "voc").changes["train"][text] == 1
    train, _ = load(tmp_path / "voc")
    masks = train[0].masks
    np.testing.assert_array_equal(masks[0], ring_mask(2, 3, 18))  # the small one is whole
    assert masks[1].sum() == 900 - masks[0].sum()


@pytest.mark.parametrize("how", ["copy", "link", "none"])
def test_images(source, tmp_path, how):
    turn(source, tmp_path / "new", "yolo", images=how)
    path = tmp_path / "new/images/train/a_x_train.png"
    assert path.exists() == (how != "none")
    if how != "none":
        assert os.path.samefile(path, source / "images/a/x_train.png") == (how == "link")
        assert not path.is_symlink()  # or the check would refuse what leads out of the folder


def test_never_into_the_data_or_over_something(source, tmp_path):
    for target, fault in (
        (source / "new", "is inside"),
        (source, "is not empty"),
        (source / "train.json", "is not empty"),
    ):
        with pytest.raises(UsageError, match=fault):
            turn(source, target, "voc")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write the data set"):
        turn(source, tmp_path / "file" / "new", "coco")
    (source / "images/a/x_train.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images missing"):
        turn(source, tmp_path / "new", "coco")
    assert not (tmp_path / "new").exists()


def test_the_description_is_plain_yaml(source, tmp_path):
    turn(source, tmp_path / "new", "yolo")
    tree = yaml.safe_load((tmp_path / "new/data.yaml").read_text())
    assert tree == {"train": "images/train", "val": "images/val", "names": {0: "dog", 1: "traffic light"}}
    assert (tmp_path / "new/labels/val/empty_val.txt").read_text() == ""
    # [10.5, 8.25, 20, 30] in 64 x 48: centre 20.5/64, 23.25/48, size 20/64, 30/48
    assert (tmp_path / "new/labels/val/b_x_val.txt").read_text() == "0 0.320312 0.484375 0.3125 0.625\n"
