"""COCO files as data sets: what becomes a target, and what evaluation gets."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO

from data_folders import refused
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco import CocoAnnotations, CocoDataset
from paths import DATA

CONFIG = DataConfig(path="folder")
HEIGHT, WIDTH = 10, 20
# rows 2..4, columns 3..7 of an image 10 high: 3 columns' worth of 10 pixels, then (2, then runs of 3 and 7)
UNCOMPRESSED = [32, 3, 7, 3, 7, 3, 7, 3, 7, 3, 125]


def rectangle_mask():
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[2:5, 3:8] = True
    return mask


def compressed(mask):
    return rle_masks.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


def note(ident, image, category, **changes):
    polygon = [[3, 2, 8, 2, 8, 5, 3, 5]]
    return {
        "id": ident,
        "image_id": image,
        "category_id": category,
        "bbox": [3, 2, 5, 3],
        "area": 15,
        "iscrowd": 0,
        "segmentation": polygon,
        **changes,
    }


@pytest.fixture
def tree():
    return {
        "images": [
            {"id": ident, "file_name": f"{ident}.png", "width": WIDTH, "height": HEIGHT}
            for ident in (30, 10, 20)
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 90, "name": "brush"}],
        "annotations": [note(5, 10, 90), note(6, 30, 1), note(7, 30, 18, iscrowd=1), note(8, 30, 18)],
    }


@pytest.fixture
def build(tree, tmp_path):
    def make(config=CONFIG, split="train", **options):
        for image in tree["images"]:
            if not (tmp_path / image["file_name"]).exists():
                Image.new("RGB", (WIDTH, HEIGHT), "gray").save(tmp_path / image["file_name"])
        (tmp_path / "t.json").write_text(json.dumps(tree))
        return CocoDataset(CocoAnnotations(tmp_path / "t.json", tmp_path), config, split, **options)

    return make


def test_classes_images_and_objects(build):
    data = build()
    assert data.class_names == ("person", "dog", "brush")  # in the order of the ids 1, 18, 90
    assert data.category_ids == (1, 18, 90)
    assert len(data) == 3
    assert data.has_masks
    sample = data[0]  # image 30: a person and a dog; the crowd is no target
    assert (sample.image_id, sample.file_name, sample.image.shape) == (30, "30.png", (HEIGHT, WIDTH, 3))
    assert sample.labels.tolist() == [0, 1]
    assert sample.boxes.tolist() == [[3, 2, 8, 5]] * 2
    assert sample.boxes.dtype == np.float32
    assert data[1].labels.tolist() == [2]


def test_an_image_without_objects(build):
    sample = build()[2]
    assert sample.boxes.shape == (0, 4)
    assert sample.labels.shape == (0,)
    assert sample.masks.shape == (0, HEIGHT, WIDTH)
    assert sample.has_mask.shape == (0,)


def test_skip_empty_is_for_training_only(build):
    config = CONFIG.model_copy(update={"skip_empty": True})
    assert build(config).file_names == ["30.png", "10.png"]
    assert len(build(config, "val")) == 3


def test_all_forms_of_masks_agree(tree, build):
    rle = {"size": [HEIGHT, WIDTH]}
    tree["annotations"] = [
        note(1, 30, 1),
        note(2, 30, 1, segmentation={**rle, "counts": UNCOMPRESSED}),
        note(3, 30, 1, segmentation={**rle, "counts": compressed(rectangle_mask())}),
        note(4, 30, 1, segmentation=[[3, 2, 5, 2, 5, 5, 3, 5], [5, 2, 8, 2, 8, 5, 5, 5], [1, 1]]),
    ]
    masks = build()[0].masks
    assert masks.dtype == bool
    for mask in masks:
        np.testing.assert_array_equal(mask, rectangle_mask())


def test_data_without_masks(tree, build):
    for one in tree["annotations"]:
        one.pop("segmentation")
    data = build()
    assert not data.has_masks
    assert data[0].masks is None
    assert data[0].has_mask.tolist() == [False, False]


def test_mixed_data(tree, build):
    tree["annotations"][1]["segmentation"] = []
    data = build()
    assert data.has_masks
    assert data[0].has_mask.tolist() == [False, True]
    assert not data[0].masks[0].any()
    assert data[0].masks[1].sum() == 15


def test_a_mask_without_a_pixel_is_no_mask(tree, build):
    tree["annotations"][1]["segmentation"] = [[3.1, 2.1, 3.2, 2.1, 3.2, 2.2]]
    assert build()[0].has_mask.tolist() == [False, True]


def test_boxes_are_clipped_and_degenerate_ones_dropped(tree, build):
    tree["annotations"] = [
        note(1, 30, 1, bbox=[-4, 2, 50, 3]),  # x from -4..46 to 0..20
        note(2, 30, 1, bbox=[3, 2, 0, 3]),
        note(3, 30, 1, bbox=[3, 12, 5, 3]),
    ]
    data = build()
    assert data[0].boxes.tolist() == [[0, 2, 20, 5]]
    assert data.report.degenerate == [2, 3]


def test_limit_restricts_images_and_evaluation(build):
    data = build(CONFIG.model_copy(update={"limit": 2}))
    assert data.image_ids.tolist() == [30, 10]
    truth = data.coco()
    assert [image["id"] for image in truth["images"]] == [30, 10]
    assert [one["id"] for one in truth["annotations"]] == [5, 6, 7, 8]
    assert [one["id"] for one in build(CONFIG.model_copy(update={"limit": 1})).coco()["annotations"]] == [
        6,
        7,
        8,
    ]


def test_evaluation_gets_the_original_file(tree, build):
    assert build().coco() == tree  # crowds and the file's own category ids included


def test_evaluation_gets_what_the_file_lacks(tree, build):
    for one in tree["annotations"]:
        del one["area"], one["iscrowd"]
    tree["annotations"][0]["id"] = 0
    tree["annotations"][1]["segmentation"] = None
    truth = build().coco()
    assert [one["area"] for one in truth["annotations"]] == [
        15,
        15,
        15,
        15,
    ]  # polygon 5 x 3; the box's is too
    assert [one["iscrowd"] for one in truth["annotations"]] == [0] * 4
    assert [one["id"] for one in truth["annotations"]] == [9, 6, 7, 8]  # 0 means "unmatched" to the evaluator


def test_masks_that_fill_the_memory_together(tree, build, tmp_path):
    # 17 masks of 10x20 pixels are 3400: an eighth of them, 425, is the least limit that takes them
    tree["annotations"] += [note(100 + n, 20, 1) for n in range(17)]
    assert len(build(CONFIG.model_copy(update={"max_pixels": 425}))) == 3
    line = refused(lambda: build(CONFIG.model_copy(update={"max_pixels": 424})))
    assert line == (
        f"{tmp_path / 't.json'}: '20.png' has 17 masks of 20x10 pixels, which are decoded together; cut it "
        "into tiles or, if you trust the file, pass --set data.max_pixels=425"
    )


def test_classes_of_a_checkpoint(tree, build, tmp_path):
    names, ids = ("brush", "cat", "dog", "person"), (90, 17, 18, 1)
    data = build(class_names=names, category_ids=ids)
    assert (data.class_names, data.category_ids) == (names, ids)
    assert data[0].labels.tolist() == [3, 2]
    assert build(class_names=names).category_ids == (90, 91, 18, 1)  # the absent cat gets an unused id
    start = f"{tmp_path / 't.json'}: "
    assert refused(lambda: build(class_names=("person", "cat"))) == (
        f"{start}category 'dog' is not a class of the training data or checkpoint (person, cat); "
        "use data with the same classes"
    )
    assert refused(lambda: build(class_names=names, category_ids=(90, 17, 19, 1))) == (
        f"{start}category 'dog' has id 18, but id 19 in the training data or checkpoint; "
        "give the categories the same ids"
    )


def test_no_object_at_all(tree, build, tmp_path):
    tree["annotations"] = []
    data = build()
    assert len(data) == 3
    assert not data.has_masks
    assert refused(lambda: build(CONFIG.model_copy(update={"skip_empty": True}))) == (
        f"{tmp_path / 't.json'}: no image has an object; --set data.skip_empty=false trains on them"
    )


def test_images_of_another_size(build, tmp_path):
    data = build()
    Image.new("RGB", (7, 5)).save(tmp_path / "30.png")
    assert refused(lambda: data[0]) == (
        f"{tmp_path / '30.png'}: the image is 7x5, but {tmp_path / 't.json'} says 20x10 (width x height); "
        "correct the file, or restore the image that was annotated"
    )
    turned = Image.new("RGB", (WIDTH, HEIGHT))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "30.png", exif=exif)
    assert refused(lambda: data[0]) == (
        f"{tmp_path / '30.png'}: the image is 10x20, but {tmp_path / 't.json'} says 20x10: its width and "
        "height match the unrotated image, which EXIF orientation 6 turns; turn the pixels and "
        "drop the EXIF "
        "tag, or annotate the upright image"
    )


def test_an_unreadable_image_names_the_file(build, tmp_path):
    data = build()
    (tmp_path / "30.png").write_text("x")
    assert refused(lambda: data[0]).startswith(f"{tmp_path / '30.png'}: not an image that is read here")


@pytest.mark.parametrize("name", ["coco", "pennfudan"])
def test_real_masks_and_boxes_equal_pycocotools(name, capsys):
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}; set DPRD_DATA_DIR")
    data = CocoDataset(CocoAnnotations(folder / "val.json", folder / "images"), CONFIG, "val")
    reference = COCO(str(folder / "val.json"))
    assert data.report.warnings == []
    assert data.coco()["annotations"] == reference.dataset["annotations"]
    for index in range(0, len(data), 8):
        sample = data[index]
        notes = reference.loadAnns(reference.getAnnIds([sample.image_id], iscrowd=False))
        assert [data.category_ids[label] for label in sample.labels] == [n["category_id"] for n in notes]
        for row, one in enumerate(notes):
            np.testing.assert_array_equal(sample.masks[row], reference.annToMask(one).astype(bool))
            x, y, w, h = one["bbox"]
            np.testing.assert_allclose(sample.boxes[row], [x, y, x + w, y + h], atol=0.02)
