"""Every usual export, as its program writes it, from the check to the numbers of a detector."""

import json

import numpy as np
import pytest

import dprd_cli
from data_folders import both_splits
from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.check import check_data
from dprd_cli.data.division import DivisionRule
from dprd_cli.data.split_files import split_files
from dprd_cli.data.splits import find_source, parts_of
from dprd_cli.training.loop import train
from paths import TINY
from tool_exports import EXPORTS, KITE, NAMES, SQUARE, bounds, export, linked_tree


@pytest.fixture(params=EXPORTS, ids=lambda writer: writer.__name__)
def written(request, tmp_path):
    """Return an export's folder, its data section, and how many of two objects have a mask."""
    root, settings = export(request.param, tmp_path)
    return root, DataConfig(path=str(root), workers=0, **settings), EXPORTS[request.param]


def test_every_export_is_read_as_it_was_drawn(written):
    _, config, masks = written
    data = both_splits(config)
    assert sum(len(one) for one in data) == len(NAMES)
    for one in data:
        names = [one.class_names[label] for label in one[0].labels]
        boxes = dict(zip(names, one[0].boxes.tolist(), strict=True))
        for name, ring in (("cat", SQUARE), ("dog", KITE)):  # VOC's columns count from 1, with both ends
            np.testing.assert_allclose(boxes[name], bounds(ring), atol=1.01)
        assert int(one[0].has_mask.sum()) == masks
    checks = check_data(config, workers=0)
    assert [problem.line() for one in checks for problem in one.problems.of("error")] == []
    assert [one.counts.objects for one in checks] == [2 * len(one) for one in data]


def test_from_the_check_to_the_numbers(written, tmp_path):
    root, config, _ = written
    source = find_source(config)
    if "val" not in source.parts:
        target = tmp_path / "divided"
        before = sorted(root.rglob("*"))
        summary = split_files(config, target, DivisionRule(0.25, seed=1))
        assert summary.images == {"train": 6, "val": 2}
        assert sorted(root.rglob("*")) == before
        config = DataConfig(path=str(target), workers=0, follow_links=config.follow_links)
    assert parts_of(find_source(config), config) == ("train", "val")
    sizes = {"train_min_sizes": [64], "test_min_size": 64, "check_images": False}
    flags = {f"data.{key}": value for key, value in {**config.model_dump(), **sizes}.items()}
    steps = {
        "model.backbone.weights": "none",
        "train.steps": 1,
        "train.batch_size": 1,
        "train.save_every": 1,
        "model.test.detections_per_image": 5,
    }
    (run := tmp_path / "run").mkdir()
    train(resolve(config_file=TINY, preset="mask-rcnn-small", flags=flags | steps), run)
    model = dprd_cli.load(run / "last.pt", device="cpu", score_thresh=0.0)
    image = next(path for path in sorted(root.rglob("*")) if path.suffix in (".jpg", ".png"))
    assert model.predict(image).image_size == (48, 64)
    measured = dprd_cli.evaluate(model, limit=1)
    assert 0 <= measured.metrics["bbox_AP"] <= 100


def test_links_that_lead_out_are_followed_when_told(tmp_path):
    root, _ = export(linked_tree, tmp_path)
    (line, *_) = (
        f"{problem.line()}; {problem.advice}"
        for one in check_data(DataConfig(path=str(root), workers=0), workers=0)
        for problem in one.problems.of("error")
    )
    assert "is a link that leads out of" in line
    assert line.endswith("--set data.follow_links=true, if you trust where they lead")


def test_the_divided_set_is_cocos_own(tmp_path):
    root, _ = export(next(iter(EXPORTS)), tmp_path)
    split_files(DataConfig(path=str(root)), tmp_path / "out", DivisionRule(0.25, 0.25))
    trees = [json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("train", "val", "test")]
    names = [image["file_name"] for tree in trees for image in tree["images"]]
    assert sorted(names) == [f"{name}.jpg" for name in NAMES]
    assert (tmp_path / "out" / "images" / names[0]).is_file()
    assert (tmp_path / "out" / "images").is_symlink()
