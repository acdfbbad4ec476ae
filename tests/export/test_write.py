"""Exported files, run by onnxruntime and by PyTorch, against the detector."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.export.check import Difference, open_exported, to_inputs
from dprd_cli.export.write import read_metadata
from dprd_cli.files.images import read_image
from dprd_cli.inference.predictor import Predictor
from dprd_cli.model.build import build_detector
from dprd_cli.ops.masks import paste_masks
from dprd_cli.weights.checkpoint import save_checkpoint
from dprd_cli.weights.load import load_model
from paths import DATA, ROOT

SMALL = (
    "model.neck.channels=16",
    "model.rpn.post_nms_test=20",
    "model.test.detections_per_image=8",
    "data.test_min_size=128",
    "data.max_size=224",
)
PRESETS = ("mask-rcnn", "cascade-mrcnn", "dprd", "cascade-dprd")


def save_model(path, preset, *more):
    torch.manual_seed(0)
    config = resolve(preset=f"{preset}-small", overrides=(*SMALL, *more))
    detector = build_detector(config.model, num_classes=3)
    for stage in detector.roi_heads.cascade:  # otherwise all scores are alike
        torch.nn.init.normal_(stage.box_head.classes.weight, std=0.3)
    content = {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog", "house"],
        "category_ids": [3, 7, 9],
        "with_masks": True,
        "model": detector.state_dict(),
        "step": 7,
    }
    save_checkpoint(path, content)
    return str(path)


def photographs():
    """Return two real photographs, or, where there are none, images of the built-in data."""
    found = [
        path for folder in ("coco", "pennfudan") for path in sorted((DATA / folder / "images").glob("*"))[:1]
    ]
    return [str(path) for path in found or sorted((ROOT / "assets" / "images").glob("*.png"))[:2]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return (checkpoint, ONNX file of free sizes), made once."""
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    folder = tmp_path_factory.mktemp("export")
    weights, file = save_model(folder / "dprd.pt", "dprd"), folder / "model.onnx"
    assert run(["export", weights, "--out", str(file)]) == 0
    return weights, file


def test_the_file_describes_itself(exported):
    about = read_metadata(exported[1], "onnx")
    assert about["class_names"] == ["cat", "dog", "house"]
    assert about["category_ids"] == [3, 7, 9]
    assert about["preset"] == "dprd-small"
    assert about["preprocessing"]["color_order"] == "RGB"
    assert (about["preprocessing"]["min_size"], about["preprocessing"]["max_size"]) == (128, 224)
    assert about["inputs"]["images"]["shape"] == ["N", 3, "32*h", "32*w"]
    names = ["boxes", "scores", "labels", "masks", "mask_scores", "part_boxes", "count"]
    assert list(about["outputs"]) == names


def test_batches_and_sizes_are_free(exported):
    weights, file = exported
    model, runner = load_model(weights, "cpu"), open_exported(file, "onnx")
    generator = torch.Generator().manual_seed(0)
    for batch, size in ((1, (64, 64)), (3, (150, 101))):
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        outputs = runner(*to_inputs(image, batch, None))
        (found,) = model.detector.detect([image]).detections
        assert outputs["count"].tolist() == [len(found)] * batch
        for row in range(batch):
            boxes = torch.from_numpy(outputs["boxes"][row, : len(found)])
            torch.testing.assert_close(boxes, found.boxes, rtol=1e-4, atol=1e-3)


def test_the_snippet_of_the_documentation_runs(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = read_image(Path(photographs()[0]), 10**8)
    Image.fromarray(image).save("image.jpg", quality=95)
    Path("detector.onnx").symlink_to(exported[1])
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    model = load_model(exported[0], "cpu")
    found = Predictor(model).predict(read_image(Path("image.jpg"), 10**8))
    assert len(capsys.readouterr().out.splitlines()) == len(found) > 1
    # OpenCV's and Pillow's JPEG decoders differ by a grey value here and there
    np.testing.assert_allclose(names["found"]["scores"][0, :2], found.scores[:2], atol=0.02)
    box, mask = names["boxes"][0].astype(np.float32), names["found"]["masks"][0, 0]
    shape = image.shape[:2]
    expected = paste_masks(torch.from_numpy(mask)[None], torch.from_numpy(box)[None], shape)[0]
    assert (names["full_mask"](mask, box) != expected).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_onnx_of_every_preset_agrees_with_pytorch(preset, tmp_path, capsys):
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    weights = save_model(tmp_path / "model.pt", preset)
    checks = [word for path in photographs() for word in ("--check", path)]
    size = ["--image-size", "224x224", "--batch", "2"]
    file = str(tmp_path / "model.onnx")
    assert run(["export", weights, "--out", file, *size, *checks, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["metadata"]["inputs"]["images"]["shape"] == [2, 3, 224, 224]
    assert len(content["check"]) == 2
    for row in content["check"]:
        assert row["agrees"]
        assert row["found"] == row["exported"] == row["matched"] > 1
        assert ("part_boxes" in row["largest"]) == ("dprd" in preset)
        assert max(row["largest"].values()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_torch_export_of_every_preset_agrees_with_pytorch(preset, tmp_path, capsys):
    weights = save_model(tmp_path / "model.pt", preset)
    checks = [word for path in photographs() for word in ("--check", path)]
    file = tmp_path / "model.pt2"
    assert run(["export", weights, "--format", "torch-export", "--out", str(file), *checks]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("largest differences: boxes" in line for line in lines)
    assert read_metadata(file, "torch-export")["class_names"] == ["cat", "dog", "house"]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--format", "tflite"], 2, "unknown format 'tflite'"),
        (["--image-size", "100x128"], 2, "--image-size 100x128: expected HEIGHTxWIDTH in multiples of 32"),
        (["--image-size", "big"], 2, "--image-size big: expected HEIGHTxWIDTH"),
        (["--batch", "0"], 2, "--batch 0: expected a number from 1 to 9999, or dynamic"),
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


def test_shifting_bins_cannot_be_exported(tmp_path, capsys):
    weights = save_model(tmp_path / "model.pt", "dprd", "model.parts.mode=pooling")
    assert run(["export", weights, "--format", "torch-export", "--out", str(tmp_path / "x.pt2")]) == 2
    assert "bins that shift (model.parts.mode=pooling) cannot be exported" in capsys.readouterr().err


def test_what_agrees():
    close = {"boxes": 0.4, "scores": 0.001}
    assert Difference(Path("a"), 3, 3, 3, close).agrees
    assert Difference(Path("a"), 0, 0, 0, {}).agrees
    assert not Difference(Path("a"), 3, 4, 3, close).agrees
    assert not Difference(Path("a"), 3, 3, 2, close).agrees
    assert not Difference(Path("a"), 3, 3, 3, {"boxes": 0.6}).agrees
    assert not Difference(Path("a"), 3, 3, 3, {"masks": 0.02}).agrees
