"""Where COCO's files are found, and the folder of their images."""

import json

from data_folders import write_split
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco_source import find_any, find_test, find_usual, open_json


def config(root, **changes):
    return DataConfig(path=str(root), **changes)


def test_usual_names_come_before_those_told_by_what_is_in_them(cups):
    write_split(cups / "annotations" / "instances_Train.json", cups / "images", 2, prefix="o")
    found = find_usual(config(cups), cups)
    assert found.parts["train"](None).path == cups / "train.json"
    (cups / "train.json").unlink()  # the other split still has its usual name
    assert find_usual(config(cups), cups).parts["train"](None).path.name == "instances_Train.json"
    (cups / "val.json").unlink()
    assert find_usual(config(cups), cups) is None
    assert [*find_any(config(cups), cups).parts] == ["train"]


def test_lists_of_voc_that_are_named_win(cups):
    assert find_usual(config(cups, voc_train=["train"]), cups) is None
    named = config(cups, voc_train=["train"], train_json="train.json")
    assert find_usual(named, cups) is not None


def test_test_dev_alone_is_no_data_set(tmp_path):
    path = tmp_path / "image_info_test-dev2017.json"
    path.write_text('{"images": []}')
    assert find_any(config(tmp_path), tmp_path) is None
    assert [*find_test(config(tmp_path)).parts] == ["test"]


def test_the_folder_that_holds_most_of_the_images(tmp_path):
    write_split(tmp_path / "a.json", tmp_path / "images", 7)
    (tmp_path / "data").mkdir()
    for number in (1, 2, 3, 4, 5):  # the first five
        (tmp_path / "images" / f"p{number}.png").rename(tmp_path / "data" / f"p{number}.png")
    assert open_json(config(tmp_path), tmp_path, "all", tmp_path / "a.json").images_dir == tmp_path / "data"
    tree = json.loads((tmp_path / "a.json").read_text())
    tree["images"] = [{"id": 1, "file_name": "C:\\me\\p7.png"}]
    (tmp_path / "a.json").write_text(json.dumps(tree))
    assert open_json(config(tmp_path), tmp_path, "all", tmp_path / "a.json").images_dir == tmp_path / "images"
