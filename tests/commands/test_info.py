import json
from pathlib import Path

import pytest
import torch

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from exports import save_model

SMALL = ["--preset", "cascade-dprd-small", "--image-size", "128x160"]


def test_json_counts_what_the_model_has(capsys):
    assert cli.run(["info", *SMALL, "--num-classes", "6", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    content = json.loads(out)
    assert content["image_size"] == [128, 160]
    assert content["num_classes"] == 6
    assert content["backbone"] == "r10"
    parameters = content["parameters"]
    with torch.device("meta"):
        detector = build_detector(resolve(preset="cascade-dprd-small").model, num_classes=6, with_masks=True)
    assert parameters["total"] == sum(p.numel() for p in detector.parameters())
    assert sum(parameters["modules"].values()) == parameters["total"]
    modules = {"backbone", "neck", "rpn", "dpr", "fusion", "box_head", "mask_head", "mask_iou_head"}
    assert modules <= set(parameters["modules"])
    assert modules <= set(content["macs"]["modules"])
    assert sum(content["macs"]["modules"].values()) == content["macs"]["total"] > 0


def test_tables_name_every_module(capsys):
    assert cli.run(["info", *SMALL]) == 0
    out = capsys.readouterr().out
    words = [line.split()[0] for line in out.splitlines() if line.split()]
    for name in ("parameters", "total", "trainable", "backbone", "neck", "rpn", "dpr", "fusion", "MACs"):
        assert name in words


def test_a_backbone_and_overrides(capsys):
    arguments = ["--backbone", "r34", "--set", "model.parts.mode=none", "--json"]
    assert cli.run(["info", *SMALL, *arguments]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["backbone"] == "r34"
    assert content["parameters"]["modules"]["dpr"] == 0


@pytest.mark.parametrize("text", ["800", "800x", "12x1216", "axb", "-1x5"])
def test_a_wrong_image_size(capsys, text):
    assert cli.run(["info", "--image-size", text]) == 2
    assert capsys.readouterr().err == (
        f"error: --image-size {text}: expected HEIGHTxWIDTH of at least 64x64, such as 800x1216\n"
    )


def test_unknown_names(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["info", "--backbone", "resnet50"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown backbone 'resnet50'")
    assert cli.run(["info", "--preset", "mask-rcn"]) == 2
    assert "(did you mean 'mask-rcnn'?)" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_detector_that_there_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weights = save_model(tmp_path / "model.pt", "mask-rcnn")
    assert cli.run(["info", "--weights", weights, "--image-size", "64x64", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["checkpoint"], content["preset"], content["num_classes"]) == (
        weights,
        "mask-rcnn-small",
        3,
    )
    assert content["parameters"]["total"] == sum(content["parameters"]["modules"].values())
    assert cli.run(["info", "--weights", weights, "--image-size", "64x64"]) == 0
    assert capsys.readouterr().out.startswith(f"checkpoint {weights}, step ")
    assert cli.run(["info", "--weights", weights, "--num-classes", "2", "--preset", "dprd"]) == 2
    line = "error: --preset, --num-classes: the weights of --weights fix this\n"
    assert capsys.readouterr().err == line
