"""Finding a split's files: layouts, named files, and what is tried before a line says that there is none."""

import pytest

from data_folders import both_splits, refused, small_config, write_split
from dprd_cli.data.build import build_dataset


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            ("train2017", "val2017"),
        ),
        (("annotations/train.json", "annotations/val.json"), ("images/train", "images/val")),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
        (("train.json", "val.json"), (".", ".")),
    ],
)
def test_layouts(tmp_path, names, images):
    write_split(tmp_path / names[0], tmp_path / images[0], 3)
    write_split(tmp_path / names[1], tmp_path / images[1], 2, prefix="v")
    train, val = both_splits(small_config(tmp_path))
    assert train.images_dir.resolve() == (tmp_path / images[0]).resolve()
    assert val.images_dir.resolve() == (tmp_path / images[1]).resolve()


def test_named_files_win(cups, tmp_path):
    write_split(tmp_path / "other" / "a.json", tmp_path / "images", 2, prefix="o")
    named = {"train_json": "other/a.json", "train_images": str(tmp_path / "images")}
    assert len(build_dataset(small_config(cups, **named), "train")) == 2
    files = {f"{s}_json": str(cups / f"{s}.json") for s in ("train", "val")}
    train, val = both_splits(small_config("synthetic", **files))  # without a folder
    assert (len(train), len(val)) == (7, 5)


def test_what_cannot_be_found(cups, tmp_path):
    assert refused(lambda: both_splits(small_config(tmp_path / "nowhere"))) == (
        f"{tmp_path / 'nowhere'}: no such data folder; pass --data FOLDER with COCO, VOC or YOLO "
        "annotations, or --data synthetic"
    )
    assert refused(lambda: both_splits(small_config(cups / "train.json"))) == (
        f"{cups / 'train.json'}: one file, but training and evaluation need an annotation file each: "
        "pass the folder that holds train.json and val.json, or --set data.train_json=FILE --set "
        "data.val_json=FILE"
    )
    (cups / "val.json").unlink()
    tried = (
        "(tried val.json, annotations/val.json, annotations/instances_val.json, "
        "annotations/instances_val2017.json, instances_val2017.json, annotations/instances_val2014.json, "
        "valid/_annotations.coco.json)"
    )
    assert refused(lambda: both_splits(small_config(cups))) == (
        f"{cups}: there is train.json, but no annotation file of the val split; add "
        f"{cups / 'val.json'}, or "
        f"pass --set data.val_json=FILE {tried}"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    assert refused(lambda: build_dataset(small_config(bare), "val")) == (
        f"{bare}: no annotation file of the val split; add {bare / 'val.json'}, or pass "
        f"--set data.val_json=FILE {tried}"
    )
    assert refused(lambda: both_splits(small_config("synthetic", val_json=str(cups / "val.json")))) == (
        "no train annotation file: pass --set data.train_json=FILE, or --data FOLDER that holds both"
    )


def test_images_that_are_nowhere(tmp_path):
    write_split(tmp_path / "train.json", tmp_path / "elsewhere", 3)
    (tmp_path / "images").mkdir()
    assert refused(lambda: build_dataset(small_config(tmp_path), "train")) == (
        f"{tmp_path / 'train.json'}: its images (p1.png, p2.png, ...) are in none of "
        f"{tmp_path / 'images'}, "
        f"{tmp_path}; pass --set data.train_images=DIR"
    )
