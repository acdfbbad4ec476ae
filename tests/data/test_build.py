"""The one way to a data set: both splits, their classes, the built-in data, and the lines about them."""

import json

from data_folders import CATEGORIES, both_splits, refused, small_config, write_split
from dprd_cli.config.schema import DataConfig, SignpostConfig
from dprd_cli.data.build import build_dataset, describe


def test_both_splits_of_a_folder(cups):
    train, val = both_splits(small_config(cups))
    assert (len(train), len(val)) == (7, 5)
    assert train.class_names == val.class_names == ("cup", "jug")
    assert build_dataset(small_config(cups), "val").file_names == val.file_names


def test_a_broken_file_is_reported_by_the_check(tmp_path):
    for content, expected in [
        ('{"images": 3}', "not COCO instances: 'annotations' and 'categories' missing"),
        (
            '{"images": [3], "annotations": [], "categories": []}',
            "not COCO: images[0] must be an object, got a int",
        ),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{}]}', "category number 1 has id None"),
    ]:
        (tmp_path / "train.json").write_text(content)
        assert expected in refused(lambda: build_dataset(small_config(tmp_path), "train"))


def test_classes_of_the_splits_must_agree(cups):
    write_split(cups / "val.json", cups / "images", 5, categories=CATEGORIES[:1], prefix="v")
    assert both_splits(small_config(cups))[1].class_names == ("cup", "jug")  # val may lack classes
    write_split(
        cups / "val.json",
        cups / "images",
        5,
        categories=[*CATEGORIES, {"id": 9, "name": "pot"}],
        prefix="v",
    )
    assert refused(lambda: both_splits(small_config(cups))) == (
        f"{cups / 'val.json'}: category 'pot' is not a class of the training data or checkpoint "
        f"(cup, jug); "
        "use data with the same classes"
    )
    assert len(build_dataset(small_config(cups), "val").class_names) == 3


def test_built_in_data(tmp_path):
    built_in = DataConfig(synthetic_train=12, synthetic_val=3, synthetic_size=64, limit=5)
    train, val = both_splits(built_in)
    assert (len(train), len(val)) == (5, 3)
    line = describe(train)[0]
    assert line.startswith("synthetic train: 5 images, ")
    assert len(build_dataset(built_in, "train", class_names=train.class_names)) == 5
    assert refused(lambda: build_dataset(built_in, "val", class_names=("cat",))).endswith(
        "which are not those of the checkpoint; pass the data that it was trained for with --data FOLDER"
    )


def test_built_in_signposts():
    config = DataConfig(path="signpost", synthetic_train=3, synthetic_val=2, synthetic_size=64)
    train, val = both_splits(config)
    assert (len(train), len(val), train.class_names) == (3, 2, ("red", "green", "blue", "yellow"))
    same = build_dataset(config.model_copy(update={"signpost": SignpostConfig(level="same")}), "val")
    assert same[0].cues.tolist() != val[0].cues.tolist()


def test_describe(cups):
    train = build_dataset(small_config(cups), "train")
    assert describe(train) == [
        f"train ({cups / 'train.json'}): 7 images (1 without objects), 6 objects (all with masks)",
        "  2 classes: cup 6",
        "  no object of 1 class: jug",
    ]
    tree = json.loads((cups / "train.json").read_text())
    tree["annotations"][0]["segmentation"] = []
    tree["annotations"][1]["bbox"] = [0, 0, 0, 0]
    (cups / "train.json").write_text(json.dumps(tree))
    lines = describe(build_dataset(small_config(cups), "train"))
    assert lines[0].endswith("7 images (2 without objects), 5 objects (4 with masks, 1 without)")
    assert lines[-1].startswith("  warning: 1 object left out: the box")
    for one in tree["annotations"]:
        one["segmentation"] = []
    (cups / "train.json").write_text(json.dumps(tree))
    assert describe(build_dataset(small_config(cups), "train"))[0].endswith(
        "5 objects (boxes only, no masks)"
    )
