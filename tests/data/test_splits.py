"""Finding a split's files: layouts, named files, and what is tried before a line says that there is none."""

import pytest

from data_folders import both_splits, refused, small_config, write_split
from dprd_cli.data.build import build_dataset, describe


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
        f"{tmp_path / 'nowhere'}: no such data folder; pass --data FOLDER with images and annotations, or "
        "--data synthetic"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "a.png").touch()
    (bare / "notes.txt").touch()
    assert refused(lambda: build_dataset(small_config(bare), "val")) == (
        f"{bare}: no annotations of a format that is read (COCO, VOC, YOLO, labelme, VIA, Datumaro); there "
        "are 1 image, 1 .txt; docs/own-data.md shows where each program's export has them"
    )
    (cups / "train.json").unlink()
    assert refused(lambda: both_splits(small_config(cups))).startswith(
        f"{cups}: there are COCO's val annotations, but none of the train split; add {cups / 'train.json'}, "
        "or pass --set data.train_json=FILE (tried train.json, annotations/train.json, "
    )
    named = {"val_json": str(cups / "val.json")}
    assert refused(lambda: both_splits(small_config("synthetic", **named))) == (
        f"{cups / 'val.json'}: there are COCO's val annotations, but none of the train split; pass --set "
        "data.train_json=FILE, or --data FOLDER that holds both"
    )
    assert len(build_dataset(small_config("synthetic", **named), "val")) == 5


def test_images_that_are_nowhere(tmp_path):
    write_split(tmp_path / "train.json", tmp_path.parent / "elsewhere", 3)
    (tmp_path / "images").mkdir()
    assert refused(lambda: build_dataset(small_config(tmp_path), "train")) == (
        f"{tmp_path / 'train.json'}: its images (p1.png, p2.png, ...) are in none of "
        f"{tmp_path / 'images'}, "
        f"{tmp_path}; pass --set data.train_images=DIR"
    )
    (tmp_path / "images" / "p2.PNG").touch()
    assert "(images/p2.PNG is there); pass --set" in refused(
        lambda: build_dataset(small_config(tmp_path), "train")
    )


def test_a_split_for_evaluation_is_held_out_where_there_is_none(cups):
    (cups / "val.json").unlink()
    train, val = both_splits(small_config(cups))
    assert (len(train), len(val)) == (6, 1)  # a fifth of 7
    assert train.paths().isdisjoint(val.paths())
    assert val.file_names == both_splits(small_config(cups))[1].file_names
    assert [one.name.partition("json, ")[2] for one in (train, val)] == [
        "without the 20% held out, seed 0)",
        "20% held out, seed 0)",
    ]
    assert {one["image_id"] for one in val.coco()["annotations"]} <= set(val.image_ids.tolist())
    whole = build_dataset(small_config(cups, holdout=0), "train")
    assert len(whole) == 7
    assert "none of the val split; add " in refused(
        lambda: build_dataset(small_config(cups, holdout=0), "val")
    )
    assert describe(train)[-1].startswith(
        "  no val split: 1 image of 7 held out of training for it (seed 0); "
    )
    others = {tuple(both_splits(small_config(cups, holdout_seed=seed))[1].file_names) for seed in range(9)}
    assert len(others) > 1


def test_one_file_stands_for_itself(cups):
    assert len(build_dataset(small_config(cups / "train.json", holdout=0), "train")) == 7


def test_several_files_that_may_be_meant(cups):
    for name in ("train", "val"):
        (cups / f"{name}.json").rename(cups / f"{name[0]}x.json")
    assert refused(lambda: both_splits(small_config(cups))) == (
        f"{cups}: 2 annotation files in COCO's format may be meant (tx.json, vx.json); name one with --set "
        "data.train_json=FILE"
    )
