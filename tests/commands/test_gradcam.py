import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.errors import UserError
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from dprd_cli.weights.find import find_preset
from paths import visible

SMALL = (
    "model.neck.channels=16",
    "model.rpn.post_nms_test=20",
    "model.test.detections_per_image=4",
    "data.test_min_size=64",
    "data.synthetic_size=64",
    "data.synthetic_val=3",
)
CLASSES = SyntheticDataset("val", length=1, size=64, seed=0).class_names


def save_model(path, preset, *, classes=CLASSES, with_masks=True):
    torch.manual_seed(0)
    config = resolve(preset=preset, overrides=SMALL)
    detector = build_detector(config.model, num_classes=len(classes), with_masks=with_masks)
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": list(classes),
        "category_ids": list(range(1, len(classes) + 1)),
        "with_masks": with_masks,
        "model": detector.state_dict(),
        "step": 7,
    }
    save_checkpoint(path, payload)
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    ours = save_model(folder / "ours.pt", "cascade-dprd-small")
    return ours, save_model(folder / "other.pt", "cascade-mrcnn-small", with_masks=False)


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{seed}.png")
    return folder


def names(folder):
    return visible(folder)


def test_two_images_and_two_models_give_a_figure_each_and_one_of_both(images, models, capsys):
    arguments = ["gradcam", "in", "--weights", models[0], "--compare", models[1], "--score-thresh", "0"]
    assert run([*arguments, "--max-objects", "1", "--all-found", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert names(images.parent / "gradcam") == ["0.png", "1.png", "gradcam.png"]
    assert document["titles"] == ["Cascade D-PRD", "Cascade Mask R-CNN"]
    for image in document["images"]:
        first = image["objects"][0]
        assert first["class"] in CLASSES
        assert first["models"]["Cascade D-PRD"]["layer"] in ("p2", "p3", "p4", "p5")
    width, height = Image.open(images.parent / "gradcam" / "0.png").size
    assert width > 1000
    assert height > 400


def test_folders_inside_and_lists(images, models, capsys):
    (images / "deeper").mkdir()
    (images / "1.png").rename(images / "deeper" / "1.png")
    (images.parent / "names.txt").write_text("in/0.png\n")
    arguments = ["--weights", models[0], "--score-thresh", "0", "--max-objects", "1", "--overwrite", "--json"]
    arguments += ["--set", "data.test_min_size=48"]
    for inputs, files in (
        (["in", "-r"], ["in/0.png", "in/deeper/1.png"]),
        (["--list", "names.txt"], ["in/0.png"]),
    ):
        assert run(["gradcam", *inputs, *arguments]) == 0
        found = json.loads(capsys.readouterr().out)["images"]
        assert [row["file"] for row in found] == files


def test_images_of_too_many_objects_have_figures_of_their_own_only(images, models, capsys, monkeypatch):
    monkeypatch.setattr("dprd_cli.gradcam.explain.COMBINED_ROWS", 0)
    assert run(["gradcam", "in", "--weights", models[0], "--score-thresh", "1", "--out", "out"]) == 0
    assert "no gradcam.png: the first images have over 0 objects; lower" in capsys.readouterr().err
    assert names(images.parent / "out") == ["0.png", "1.png"]


def test_nothing_found_is_said_and_the_image_is_shown(images, models, capsys):
    arguments = ["gradcam", "in/0.png", "--weights", models[0], "--compare", models[1], "--out", "out"]
    assert run([*arguments, "--score-thresh", "1"]) == 0
    assert "in/0.png: no object reached the score 1; lower --score-thresh" in capsys.readouterr().err
    assert names(images.parent / "out") == ["0.png"]


def test_models_of_other_classes_match_nothing(images, models, capsys):
    other = save_model(images.parent / "cats.pt", "mask-rcnn-small", classes=("cat", "cow"))
    arguments = ["gradcam", "in/0.png", "--weights", models[0], "--compare", other, "--score-thresh", "0"]
    assert run([*arguments, "--max-objects", "1", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert "no class name in common" in errors
    assert json.loads(output)["images"][0]["objects"][0]["models"]["Mask R-CNN"] is None


def test_statistics_on_the_built_in_data(images, models, capsys):
    # against itself, so that both find the same; random weights find no object, so every class is tried
    arguments = ["gradcam", "--stats", "--weights", models[0], "--compare", models[0], "--limit", "2"]
    assert run([*arguments, "--score-thresh", "0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["stats"]
    rows = list(csv.DictReader((images.parent / "gradcam" / "stats.csv").open()))
    assert len(rows) == 2 * result["objects"]
    assert result["objects"] + result["missed"] > 0
    assert len(result["models"]) == 2


def test_the_newest_run_of_a_preset_or_its_published_weights(images, models):
    with pytest.raises(UserError, match=r"no run of preset cascade-mrcnn in runs/; train one with .*fetch"):
        find_preset("cascade-mrcnn")
    for name, preset, age in (("a", "cascade-mrcnn-small", 5), ("b", "cascade-mrcnn", 9), ("c", "dprd", 1)):
        folder = images.parent / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(f'preset = "{preset}"\n')
        shutil.copy(models[1], folder / "last.pt")
        os.utime(folder / "last.pt", (1e9 - age, 1e9 - age))
    assert find_preset("cascade-mrcnn") == "runs/a"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "pass images, or --stats to measure on annotated ones"),
        (["in", "--data", "x"], 2, "--data: only with --stats"),
        (["in", "--method", "gradcan"], 2, "unknown method 'gradcan'"),
        (["in", "--compare", "cascade-mrcnn"], 1, "no Cascade Mask R-CNN to compare with"),
        (["in", "--layer", "p9"], 2, "--layer p9:"),
        (["nothing.jpg"], 3, "nothing.jpg: no such file or folder"),
    ],
)
def test_mistakes_are_one_clear_line(images, models, capsys, arguments, code, message):
    assert run(["gradcam", *arguments, "--weights", models[0]]) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors
    assert "Traceback" not in errors


def test_unreadable_images_are_skipped(images, models, capsys):
    (images / "2.png").write_text("not an image")
    assert run(["gradcam", "in", "--weights", models[0], "--score-thresh", "1"]) == 3
    errors = capsys.readouterr().err
    assert "skipped: in/2.png" in errors
    assert errors.splitlines()[-1] == "error: 1 of 3 images could not be read; the others are in gradcam/"
