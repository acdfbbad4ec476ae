"""`dprd export`: its files, its JSON and its mistakes."""

import json

import pytest

from dprd_cli.cli import run
from exports import PRESETS, photographs, read_metadata, save_model


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_onnx_of_every_preset_agrees_with_pytorch(preset, tmp_path, capsys):
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    weights = save_model(tmp_path / "model.pt", preset)
    checks = [word for path in photographs() for word in ("--check", path)]
    size = ["--image-size", "224x224", "--batch-size", "2"]
    file = str(tmp_path / "model.onnx")
    assert run(["export", "--weights", weights, "--out", file, *size, *checks, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["metadata"]["inputs"]["images"]["shape"] == [2, 3, 224, 224]
    assert len(content["check"]) == 2
    for row in content["check"]:
        assert row["agrees"]
        assert row["found"] == row["exported"] == row["matched"] > 1
        assert ("part_boxes" in row["largest"]) == ("dprd" in preset)
        assert max(row["largest"].values()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["mask-rcnn", "cascade-dprd"])  # ONNX goes through torch.export for all
def test_torch_export_agrees_with_pytorch(preset, tmp_path, capsys):
    weights = save_model(tmp_path / "model.pt", preset)
    checks = [word for path in photographs() for word in ("--check", path)]
    file = tmp_path / "model.pt2"
    assert run(["export", weights, "--format", "torch-export", "--out", str(file), *checks]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("largest differences: boxes" in line for line in lines)
    assert read_metadata(file)["class_names"] == ["cat", "dog", "house"]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--format", "tflite"], 2, "unknown format 'tflite'"),
        (["--image-size", "100x128"], 2, "--image-size 100x128: expected HEIGHTxWIDTH in multiples of 32"),
        (["--image-size", "big"], 2, "--image-size big: expected HEIGHTxWIDTH"),
        (["--batch", "0"], 2, "--batch-size 0: expected a number from 1 to 9999, or dynamic"),
        (["--weights", "other.pt"], 2, "--weights names the detector"),
        (["--check", "none.png"], 3, "none.png: no such file"),
        (["--set", "model.test.nms_iou=0.4"], 2, "only data.* keys can be set here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_clear_line(flags, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weights = save_model(tmp_path / "model.pt", "mask-rcnn")
    assert run(["export", weights, *flags]) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not list(tmp_path.glob("*.onnx"))
