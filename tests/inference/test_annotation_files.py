"""Detections as data sets: read again they are what was shown, and a detector is trained on them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_masks

from dprd_cli.cli import run
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset
from dprd_cli.files.output_folder import OutputChoice, OutputFolder
from dprd_cli.inference.annotation_files import CocoDatasetFiles, YoloDatasetFiles
from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.predict import PredictOptions, predict
from dprd_cli.inference.sources import Source
from paths import TINY
from tiny_model import tiny_model

ALL = DisplayStyle(score_thresh=0.0)
BARE = ("--backbone-weights", "none")


def test_every_object_that_is_shown_is_an_annotation(tmp_path, make_entry):
    files = CocoDatasetFiles(OutputFolder(tmp_path, "predict"))
    files.open()
    entries = [
        make_entry("in/clip.mp4", frame=3, image_id=5, style=ALL),
        make_entry("x/b", frame=0, image_id=6),
    ]
    for entry in entries:
        files.write(files.content(entry))
    assert files.close() == ["dataset/ (2 images, 3 annotations)"]
    tree = json.loads((tmp_path / "dataset" / "train.json").read_text())
    assert tree["categories"] == [{"id": 18, "name": "dog"}, {"id": 10, "name": "traffic light"}]
    assert [(one["id"], one["file_name"]) for one in tree["images"]] == [
        (5, "clip/000003.png"),
        (6, "b/000000.png"),
    ]
    frame = np.asarray(Image.open(tmp_path / "dataset" / "images" / "clip" / "000003.png"))
    assert np.array_equal(frame, entries[0].prediction.image)
    first, second, third = tree["annotations"]
    assert [one["id"] for one in (first, second, third)] == [1, 2, 3]
    assert (first["image_id"], first["category_id"], first["bbox"]) == (5, 18, [0, 0, 30, 40])
    assert (second["bbox"], second["iscrowd"]) == ([30, 10, 30, 30], 0)  # its box reaches out of the image
    assert second["score"] == pytest.approx(0.2)
    xs, ys = np.array(first["segmentation"]).reshape(-1, 2).T  # all of the box
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx((0, 30, 0, 40), abs=1)


def test_labels_of_yolo_are_shares_of_the_image(tmp_path, make_entry):
    files = YoloDatasetFiles(OutputFolder(tmp_path, "predict"))
    files.add(make_entry(frame=0, masks=False, style=ALL))
    files.add(make_entry(frame=1, style=DisplayStyle(score_thresh=1.0)))
    assert files.close() == ["2 YOLO label files"]
    labels = tmp_path / "yolo" / "labels" / "a"
    assert (labels / "000000.txt").read_text() == "0 0.25 0.5 0.5 1\n1 0.75 0.625 0.5 0.75\n"
    assert (labels / "000001.txt").read_text() == ""
    assert "0: dog" in (tmp_path / "yolo" / "data.yaml").read_text()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Ten images, as a tiny model annotates them in both formats."""
    place = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(0)
    sources = []
    for number in range(10):
        path = place / "in" / f"{number}.{'png' if number % 2 else 'jpg'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(path)
        sources.append(Source("image", str(path)))
    model = tiny_model()
    style = DisplayStyle(score_thresh=0.3)
    output = OutputChoice(place / "out")
    predict(model, sources, PredictOptions(output=output, kinds=("dataset", "yolo", "coco"), style=style))
    return place / "out"


@pytest.mark.parametrize("kind", ["dataset", "yolo"])
def test_what_is_read_again_is_what_was_found(saved, kind):
    dataset = build_dataset(DataConfig(path=str(saved / kind), holdout=0, check_images=False), "train")
    assert tuple(dataset.class_names) == ("cat", "dog")
    rows = [row for row in json.loads((saved / "results.json").read_text()) if row["score"] >= 0.3]
    assert sum(len(dataset[number].boxes) for number in range(len(dataset))) == len(rows) > 0
    images = {row["id"]: row["file_name"] for row in json.loads((saved / "images.json").read_text())}
    for number in range(len(dataset)):
        sample = dataset[number]
        assert np.array_equal(sample.image.shape, (70, 90, 3))
        mine = [row for row in rows if Path(images[row["image_id"]]).name == Path(sample.file_name).name]
        for row, mask, label in zip(mine, sample.masks, sample.labels, strict=True):
            assert row["category_id"] == label + 1
            found = rle_masks.decode(row["segmentation"]).astype(bool)
            assert (found & mask).sum() >= 0.95 * (found | mask).sum()


@pytest.mark.parametrize("kind", ["dataset", "yolo"])
def test_a_detector_is_trained_on_it(saved, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = str(saved / kind)
    assert run(["data", "check", data]) == 0, capsys.readouterr().err
    assert run(["train", "--config", str(TINY), "--data", data, "--steps", "1", "--out", "run", *BARE]) == 0
    assert torch.load("run/last.pt", weights_only=True)["class_names"] == ["cat", "dog"]
    assert re.search(r"held out", capsys.readouterr().err)
