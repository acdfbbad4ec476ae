import json

import numpy as np
import pytest
from PIL import Image

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.coco_test_dev import build_test_dev
from dprd_cli.errors import DataError

CATEGORIES = [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 17, "name": "owl"}]


def write(folder, json_name="annotations/image_info_test-dev2017.json", images="test2017", **changes):
    (folder / images).mkdir(parents=True)
    tree = {"info": {}, "licenses": [], "categories": CATEGORIES, "images": []}
    for number in (5, 11):
        Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(folder / images / f"{number}.png")
        size = {"width": 30, "height": 20}
        tree["images"].append({"id": number, "file_name": f"{number}.png", **size})
    (folder / json_name).parent.mkdir(exist_ok=True)
    (folder / json_name).write_text(json.dumps(tree | changes))
    return folder


def refused(folder, names=("cat",), **settings):
    with pytest.raises(DataError) as caught:
        build_test_dev(DataConfig(path=str(folder), **settings), names)
    return str(caught.value)


def test_images_without_annotations_and_ids_by_name(tmp_path):
    dataset, ids = build_test_dev(DataConfig(path=str(write(tmp_path))), ("cat", "dog"))
    assert ids == (3, 90)
    assert dataset.name.startswith("test-dev (")
    assert [dataset[n].image_id for n in range(len(dataset))] == [5, 11]
    assert dataset.has_masks is False
    assert len(dataset[0].boxes) == 0
    tree = dataset.coco()
    assert (len(tree["images"]), tree["annotations"]) == (2, [])
    assert tree["categories"] == CATEGORIES


def test_annotations_are_not_read(tmp_path):
    folder = write(tmp_path, annotations=[{"id": 1, "nonsense": True}])
    assert len(build_test_dev(DataConfig(path=str(folder)), ("cat",))[0]) == 2


def test_other_names(tmp_path):
    folder = write(tmp_path, "list.json", "images")
    named = {"test_json": "list.json", "test_images": str(folder / "images")}
    assert len(build_test_dev(DataConfig(path=str(folder), **named), ("owl",))[0]) == 2
    named["test_json"] = str(folder / "list.json")
    assert len(build_test_dev(DataConfig(**named), ("owl",))[0]) == 2


def test_what_is_missing(tmp_path):
    assert refused(tmp_path) == (
        f"{tmp_path}: no annotation file of the test split; add "
        f"{tmp_path / 'annotations/image_info_test-dev2017.json'}, or pass --set data.test_json=FILE "
        "(tried annotations/image_info_test-dev2017.json, image_info_test-dev2017.json)"
    )
    folder = write(tmp_path)
    path = folder / "annotations" / "image_info_test-dev2017.json"
    assert refused(folder, ("cat", "emu", "yak")) == (
        f"{path}: no category 'emu', which is a class of the checkpoint (2 such); "
        "pass a checkpoint that was trained on COCO's categories"
    )
    (folder / "test2017" / "11.png").unlink()
    assert "1 of 2 images missing" in refused(folder)
    (folder / "test2017" / "5.png").unlink()
    assert refused(folder).endswith("pass --set data.test_images=DIR")
    path.write_text(json.dumps({"images": [{"id": 1}]}))
    assert refused(folder, test_images="test2017") == (
        f"{path}: not COCO instances: 'categories' missing; expected 'images', 'annotations' and 'categories'"
    )
