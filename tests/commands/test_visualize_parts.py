import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.drawing.canvas import ORANGE
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import visible

SMALL = (
    "model.neck.channels=16",
    "model.rpn.post_nms_test=20",
    "model.test.detections_per_image=4",
    "data.test_min_size=64",
)


def save_model(path, preset="cascade-dprd-small", more=()):
    torch.manual_seed(0)
    config = resolve(preset=preset, overrides=(*SMALL, *more))
    detector = build_detector(config.model, num_classes=2, with_masks=True)
    if detector.part_layer is not None:
        torch.nn.init.normal_(detector.part_layer.bias, std=0.1)  # parts that move
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog"],
        "category_ids": [3, 7],
        "with_masks": True,
        "model": detector.state_dict(),
        "step": 7,
    }
    save_checkpoint(path, payload)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("weights") / "tiny.pt")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{seed}.png")
    return folder


def names(folder):
    return visible(folder)


def test_several_images_give_a_grid_and_statistics(images, weights, capsys):
    code = run(["visualize-parts", "in", "--weights", weights, "--score-thresh", "0", "--columns", "2"])
    output, errors = capsys.readouterr()
    assert code == 0
    out = images.parent / "parts"
    assert names(out) == ["0.jpg", "1.jpg", "2.jpg", "grid.jpg", "parts.csv", "parts.json"]
    assert "results: 6 files in parts/" in errors
    for word in ("class", "objects", "IoU", "|dx|", "all"):
        assert word in output
    statistics = json.loads((out / "parts.json").read_text())
    assert statistics["parts"] == ["left", "right", "upper", "bottom"]
    assert statistics["all"]["iou"] < 0.95
    assert statistics["all"]["objects"] == sum(row["objects"] for row in statistics["classes"]) > 0
    rows = list(csv.DictReader((out / "parts.csv").open()))
    assert len(rows) == 5 * (1 + len(statistics["classes"]))  # and the whole
    assert rows[0]["class"] == "all"
    assert [row["part"] for row in rows[:5]] == ["left", "right", "upper", "bottom", "whole"]
    assert 0 < sum(float(row["share"]) for row in rows[:5]) <= 1 + 1e-6
    assert 0 <= sum(float(row["decides"]) for row in rows[:5]) <= 1 + 1e-6


def test_one_image_is_compared_and_shown_stage_by_stage(images, weights):
    arguments = ["visualize-parts", "in/0.png", "--weights", weights, "--score-thresh", "0", "--out", "out"]
    assert run([*arguments, "--per-stage", "--compare", "--max-objects", "1"]) == 0
    out = images.parent / "out"
    assert names(out) == ["0.jpg", "0_compare.jpg", "0_stages.jpg", "parts.csv", "parts.json"]
    assert json.loads((out / "parts.json").read_text())["all"]["objects"] == 1
    width, height = Image.open(out / "0_compare.jpg").size
    assert width > 2 * height  # side by side
    assert run([*arguments, "--grid"]) == 2  # nothing is mixed
    assert run([*arguments, "--grid", "--overwrite"]) == 0
    assert names(out) == ["0.jpg", "grid.jpg", "parts.csv", "parts.json"]


def test_the_papers_style_and_one_that_is_none(images, weights, capsys):
    common = [
        "visualize-parts",
        "in/0.png",
        "--weights",
        weights,
        "--score-thresh",
        "0",
        "--max-objects",
        "1",
    ]
    assert run([*common, "--style", "paper"]) == 0
    drawn = np.asarray(Image.open(images.parent / "parts" / "0.jpg")).astype(int)
    assert (np.abs(drawn - np.array(ORANGE)).max(axis=-1) < 30).sum() > 50
    assert run([*common, "--style", "papers", "--overwrite"]) == 2
    assert "did you mean 'paper'" in capsys.readouterr().err.replace('"', "'")


def test_reference_offsets_do_not_move(images, weights):
    common = ["visualize-parts", "in", "--weights", weights, "--score-thresh", "0"]
    assert run([*common, "--part-offsets", "reference"]) == 0
    assert json.loads((images.parent / "parts" / "parts.json").read_text())["all"]["moved"] == 0


def test_json_is_one_document_on_stdout(images, weights, capsys):
    assert run(["visualize-parts", "in", "--weights", weights, "--score-thresh", "0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["part_offsets"] == "learned"
    assert document["files"][-1] == "parts/parts.csv"
    assert document["all"]["objects"] > 0


def test_nothing_found_says_how_to_see_more(images, weights, capsys):
    assert run(["visualize-parts", "in", "--weights", weights, "--score-thresh", "1"]) == 0
    assert "no object reached the score 1; lower --score-thresh" in capsys.readouterr().err
    assert names(images.parent / "parts")[-2:] == ["parts.csv", "parts.json"]


def test_unreadable_images_are_skipped(images, weights, capsys):
    (images / "3.png").write_text("not an image")
    assert run(["visualize-parts", "in", "--weights", weights]) == 3
    errors = capsys.readouterr().err
    assert "skipped: in/3.png" in errors
    assert errors.splitlines()[-1] == "error: 1 of 4 images could not be read; the others are in parts/"


def test_a_model_without_parts_and_one_with_fixed_parts(images, capsys):
    plain = save_model(images.parent / "plain.pt", preset="cascade-mrcnn-small")
    assert run(["visualize-parts", "in", "--weights", plain]) == 1
    assert "no parts (preset cascade-mrcnn-small, model.parts.mode=none); pass" in capsys.readouterr().err
    pooling = save_model(images.parent / "pooling.pt", more=("model.parts.mode=pooling",))
    assert run(["visualize-parts", "in", "--weights", pooling]) == 1
    assert "no parts (preset cascade-dprd-small, model.parts.mode=pooling)" in capsys.readouterr().err
    fixed = save_model(images.parent / "fixed.pt", more=("model.parts.mode=fixed",))
    assert run(["visualize-parts", "in", "--weights", fixed, "--score-thresh", "0"]) == 0
    assert "the parts of this model are fixed" in capsys.readouterr().err
    assert run(["visualize-parts", "in", "--weights", fixed, "--part-offsets", "mean"]) == 2
    assert "no parts that move, and so no mean part offsets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.jpg"], 3, "error: nothing.jpg: no such file or folder; check the path"),
        (["in"], 1, "train one with `dprd train`, or pass --weights voc or demo"),
        (["in", "--part-offsets", "x"], 2, "error: unknown kind of part offsets 'x'"),
    ],
)
def test_mistakes_are_one_clear_line(images, capsys, arguments, code, message):
    assert run(["visualize-parts", *arguments]) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors
    assert "Traceback" not in errors


def test_folders_inside_lists_and_the_size_of_images(images, weights, capsys, monkeypatch):
    (images / "deeper").mkdir()
    (images / "2.png").rename(images / "deeper" / "2.png")
    (images.parent / "names.txt").write_text("in/0.png\n")
    seen = []
    detect = Detector.detect

    def look(self, tensors, **options):
        seen.append(min(tensors[0].shape[-2:]))
        return detect(self, tensors, **options)

    monkeypatch.setattr(Detector, "detect", look)
    more = ["--weights", weights, "--set", "data.test_min_size=48", "--no-grid", "--json"]
    for inputs, count in ((["in", "--recursive"], 3), (["--list", "names.txt"], 1), (["@names.txt"], 1)):
        seen.clear()
        assert run(["visualize-parts", *inputs, *more]) == 0
        assert seen == [48] * count
    capsys.readouterr()
    assert run(["visualize-parts", "--weights", weights]) == 2
    told = capsys.readouterr().err
    assert told == "error: nothing to look at; pass images, folders or a --list FILE\n"
