"""Drawn shapes as a data set: classes, missing images, images beside their files."""

import json

import pytest

from data_folders import load_split, refused
from dprd_cli.data.formats.drawn import image_beside
from dprd_cli.data.formats.names import ImageNames
from tool_exports import NAMES, export, labelme, via_project


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_classes_of_a_checkpoint_are_taken_by_name(tmp_path):
    root, _ = export(labelme, tmp_path)
    data = load_split(root, class_names=("cow", "dog", "cat"), category_ids=(4, 5, 6), holdout=0)
    assert [one["category_id"] for one in data.coco()["annotations"][:2]] == [6, 5]
    line = refused(lambda: load_split(root, class_names=("dog",), holdout=0))
    assert line.startswith(
        "img_a.json shape 1: 'cat' is not a class of the training data or checkpoint (dog)"
    )


def test_missing_images_are_named_with_those_that_are_near(tmp_path):
    root, _ = export(labelme, tmp_path)
    (root / "img_a.jpg").rename(root / "img_a.JPEG")
    (root / "img_b.jpg").unlink()
    line = refused(lambda: load_split(root, holdout=0))
    assert f"1 of 8 images missing in {root}: img_b.jpg" in line
    assert line.endswith("put the images beside the annotations")
    assert load_split(root, holdout=0, on_bad_image="skip").file_names[0] == "img_a.JPEG"


def test_a_size_that_is_not_said_is_the_images(tmp_path):
    root, _ = export(labelme, tmp_path)
    change(root / "img_a.json", imageHeight=None)
    assert load_split(root, holdout=0).sizes[0].tolist() == [48, 64]
    (root / "img_a.jpg").unlink()
    assert "img_a.jpg: no such file" in refused(lambda: load_split(root, holdout=0))


@pytest.mark.parametrize("said", ["b.jpg", "..\\images\\b.jpg", "/home/me/b.jpg", None, 3])
def test_the_image_that_a_file_means(tmp_path, said):
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("labels/a.png", "images/b.jpg"):
        (tmp_path / name).touch()
    expected = "images/b.jpg" if isinstance(said, str) else "labels/a.png"
    assert image_beside(tmp_path / "labels" / "a.json", said, ImageNames(tmp_path)) == expected
    assert image_beside(tmp_path / "labels" / "c[1].json", None, ImageNames(tmp_path)) == "labels/c[1].jpg"


def test_an_image_that_was_only_looked_at_has_no_object(tmp_path):
    root, _ = export(via_project, tmp_path)
    (path,) = root.glob("*.json")
    tree = json.loads(path.read_text())
    tree["_via_img_metadata"]["img_a.jpg1234"]["regions"] = []
    path.write_text(json.dumps(tree))
    data = load_split(root, holdout=0)
    assert data.objects_per_image.tolist() == [0, *[2] * (len(NAMES) - 1)]
