"""The built-in data as files: the very same samples, whole or not there."""

import errno
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.data.synthetic.signpost import SignpostDataset
from dprd_cli.data.synthetic.write import write_coco, write_splits
from dprd_cli.errors import DataError, ResourceError, UsageError


def test_written_data_set_holds_the_same_samples(tmp_path):
    dataset = SyntheticDataset("train", 6)
    path = write_coco(dataset, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "train.json"
    assert json.loads(path.read_text()) == SyntheticDataset("train", 6).coco()
    coco = COCO(str(path))
    for sample in dataset:
        info = coco.loadImgs(sample.image_id)[0]
        assert (info["file_name"], info["width"], info["height"]) == (sample.file_name, 128, 128)
        image = cv2.imread(str(path.parent / "images" / info["file_name"]))
        np.testing.assert_array_equal(image[..., ::-1], sample.image)
        found = coco.loadAnns(coco.getAnnIds(sample.image_id))
        assert [a["category_id"] - 1 for a in found] == sample.labels.tolist()
        for annotation, box, mask in zip(found, sample.boxes, sample.masks, strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
            assert annotation["iscrowd"] == 0
            assert annotation["area"] == mask.sum() == coco_mask.area(annotation["segmentation"])
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            assert annotation["bbox"] == [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def test_both_splits_share_a_folder(tmp_path):
    for split in ("train", "val"):
        write_coco(SyntheticDataset(split, 2), tmp_path)
    names = sorted(p.name for p in tmp_path.rglob("*.*"))
    assert names == [
        "train.json",
        "train_000000.png",
        "train_000001.png",
        "val.json",
        "val_000000.png",
        "val_000001.png",
    ]


def test_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match=r"taken.*: cannot write the data set \(.*\); choose another folder"):
        write_coco(SyntheticDataset("train", 1), tmp_path / "taken")


def test_full_disk(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ResourceError, match=r"no space for the data set \(No space left on device\)"):
        write_coco(SyntheticDataset("train", 1), tmp_path)
    assert not (tmp_path / "train.json").exists()


def test_splits_go_into_an_empty_folder_alone(tmp_path):
    config = DataConfig(synthetic_train=2, synthetic_val=1, synthetic_size=64, synthetic_seed=3)
    files = dict(write_splits(tmp_path / "new", config))
    assert files == {split: tmp_path / "new" / f"{split}.json" for split in ("train", "val")}
    assert json.loads(files["train"].read_text()) == SyntheticDataset("train", 2, 64, 3).coco()
    with pytest.raises(UsageError, match=r"new is not empty; choose another folder"):
        next(write_splits(tmp_path / "new", config))
    signposts = config.model_copy(update={"path": "signpost"})
    (file,) = dict(write_splits(tmp_path / "signs", signposts, ("val",))).values()
    assert json.loads(file.read_text()) == SignpostDataset("val", 1, 64, 3).coco()
