"""Datumaro's items: shapes, groups, images, and a line for every fault."""

import json

import numpy as np
import pytest

from data_folders import load_split, refused
from tool_exports import SQUARE, datumaro, export, rle, xywh


def change(folder, annotations, **item):
    """Give the first item other annotations and keys; load the set."""
    path = folder / "annotations" / "default.json"
    tree = json.loads(path.read_text())
    tree["items"][0] |= {"annotations": annotations, **item}
    path.write_text(json.dumps(tree))
    return load_split(folder, holdout=0)


def test_masks_ellipses_and_groups(tmp_path):
    folder, _ = export(datumaro, tmp_path)
    mask = {"type": "mask", "label_id": 0, "group": 3, "rle": rle(SQUARE)}
    box = {"type": "bbox", "label_id": 0, "group": 3, "bbox": xywh(SQUARE)}
    oval = {"type": "ellipse", "label_id": 1, "group": 0, "points": [35, 20, 55, 40]}
    sample = change(folder, [mask, box, oval])[0]
    np.testing.assert_allclose(sample.boxes, [[10, 10, 30, 26], [35, 20, 55, 40]], atol=0.1)
    assert sample.has_mask.tolist() == [True, True]
    assert sample.masks[0].sum() == 20 * 16


@pytest.mark.parametrize("key", ["image", "media"])
def test_an_item_says_its_image_or_its_id_does(tmp_path, key):
    folder, _ = export(datumaro, tmp_path)
    said = {"image": None, "media": None, key: {"path": "img_a.jpg"}}
    assert change(folder, [], **said).file_names[0] == "images/default/img_a.jpg"
    assert change(folder, [], image={}, media=None).file_names[0] == "images/default/img_a.jpg"


def test_classes_keep_the_files_order(tmp_path):
    folder, _ = export(datumaro, tmp_path)
    path = folder / "annotations" / "default.json"
    path.write_text(path.read_text().replace('"cat"', '"zebra"'))
    assert load_split(folder, holdout=0).class_names == ("zebra", "dog")


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        ({"type": "bbox", "label_id": 9, "bbox": [1, 2, 3, 4]}, "label_id is 9, expected 0 to 1"),
        ({"type": "bbox", "label_id": 0, "bbox": [1, 2]}, "[1, 2], expected 4 numbers"),
        ({"type": "star", "label_id": 0}, "a shape of type 'star'"),
        ({"type": "mask", "label_id": 0}, "a mask needs an rle, and its image a size"),
        (
            {"type": "mask", "label_id": 0, "rle": {"size": [9, 9], "counts": [81]}},
            "RLE size [9, 9] is not the image's [height, width] = [48, 64]",
        ),
    ],
)
def test_faults_name_the_annotation(tmp_path, annotation, fault):
    folder, _ = export(datumaro, tmp_path)
    assert f"shape 1: {fault}" in refused(lambda: change(folder, [annotation]))


def test_what_is_not_datumaros(tmp_path):
    folder, _ = export(datumaro, tmp_path)
    path = folder / "annotations" / "default.json"
    path.write_text('{"categories": {"label": {}}, "items": []}')
    assert refused(lambda: load_split(folder)).endswith("it has no categories.label.labels")
    path.write_text('{"categories": {"label": {"labels": []}}, "items": [3]}')
    assert refused(lambda: load_split(folder)).endswith("'items' must be a list of objects")
