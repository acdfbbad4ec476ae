"""Exported files, run by onnxruntime and by PyTorch, against the detector."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.cli import run
from dprd_cli.files.images import read_image
from dprd_cli.inference.predictor import Predictor
from dprd_cli.onnx import Detector
from dprd_cli.ops.masks import paste_masks
from dprd_cli.weights.load import load_model
from exports import photographs, read_metadata, save_model
from paths import ROOT


def test_the_file_describes_itself(exported):
    about = read_metadata(exported[1])
    assert about["class_names"] == ["cat", "dog", "house"]
    assert about["category_ids"] == [3, 7, 9]
    assert about["preset"] == "dprd-small"
    assert about["preprocessing"]["color_order"] == "RGB"
    assert (about["preprocessing"]["min_size"], about["preprocessing"]["max_size"]) == (128, 224)
    assert about["inputs"]["images"]["shape"] == ["N", 3, "32*h", "32*w"]
    names = ["boxes", "scores", "labels", "masks", "mask_scores", "part_boxes", "count"]
    assert list(about["outputs"]) == names


def test_the_snippet_of_the_documentation_runs(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = read_image(Path(photographs()[0]), 10**8)
    Image.fromarray(image).save("image.jpg", quality=95)
    Path("detector.onnx").symlink_to(exported[1])
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    *_, code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    model = load_model(exported[0], "cpu")
    found = Predictor(model).predict(read_image(Path("image.jpg"), 10**8))
    assert len(capsys.readouterr().out.splitlines()) == len(found) > 1
    # OpenCV's and Pillow's JPEG decoders differ by a grey value here and there
    np.testing.assert_allclose(names["found"]["scores"][0, :2], found.scores[:2], atol=0.02)
    box, mask = names["boxes"][0].astype(np.float32), names["found"]["masks"][0, 0]
    shape = image.shape[:2]
    expected = paste_masks(torch.from_numpy(mask)[None], torch.from_numpy(box)[None], shape).numpy()[0]
    assert (names["full_mask"](mask, box) != expected).mean() < 0.01


def test_shifting_bins_cannot_be_exported(tmp_path, capsys):
    weights = save_model(tmp_path / "model.pt", "dprd", "model.parts.mode=pooling")
    assert run(["export", weights, "--format", "torch-export", "--out", str(tmp_path / "x.pt2")]) == 2
    assert "bins that shift (model.parts.mode=pooling) cannot be exported" in capsys.readouterr().err


def test_int8_as_the_documentation_says(exported, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime.quantization", reason="the extra `export` is not installed")
    monkeypatch.chdir(tmp_path)
    Path("detector.onnx").symlink_to(exported[1])
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "quantize" in one)
    exec(code, {})
    assert Path("detector-int8.onnx").stat().st_size < 0.4 * exported[1].stat().st_size
    Image.fromarray(read_image(Path(photographs()[0]), 10**8)).save("image.png")
    whole, small = (Detector(f"{name}.onnx", score_thresh=0.0) for name in ("detector", "detector-int8"))
    assert small.class_names == whole.class_names
    assert len(small.predict("image.png")) > 1
