"""An exported detector without PyTorch: what PyTorch says, and nothing else imported."""

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from dprd_cli import load, onnx
from dprd_cli.cli import run
from dprd_cli.errors import DataError, DprdWarning, UserError
from dprd_cli.files import images
from exports import save_model
from paths import ROOT

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

#: Runs the rest of its arguments where only NumPy, Pillow and ONNX Runtime can be imported.
ALONE = """
import runpy, sys
REFUSED = {"torch", "torchvision", "pydantic", "cv2", "typer", "rich", "matplotlib", "pycocotools", "yaml",
           "faster_coco_eval", "safetensors", "pytorch_grad_cam", "onnx", "onnxscript", "scipy"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{name} is refused here")
sys.meta_path.insert(0, Refuse())
del sys.argv[0]
sys.argv[0:0] = ["dprd_cli.onnx"]
runpy.run_module("dprd_cli.onnx", run_name="__main__", alter_sys=False)
assert not REFUSED & set(sys.modules)
"""


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.fromarray(noise).resize((150, 101)).save(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return (checkpoint, ONNX file), made once."""
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    folder = tmp_path_factory.mktemp("onnx")
    weights, file = save_model(folder / "dprd.pt", "dprd"), folder / "model.onnx"
    assert run(["export", weights, "--out", str(file)]) == 0
    return weights, file


def test_it_finds_what_pytorch_finds(files, image_file):
    weights, file = files
    theirs = load(weights, device="cpu", score_thresh=0.0).predict(image_file)
    mine = onnx.Detector(file, score_thresh=0.0).predict(image_file)
    assert len(mine) == len(theirs) > 0
    assert np.array_equal(mine.image, theirs.image)
    assert mine.class_names == theirs.class_names
    assert (mine.category_ids, mine.all_class_names) == (theirs.category_ids, theirs.all_class_names)
    # as `dprd export --check`: half a pixel, and 0.01
    assert np.abs(mine.boxes - theirs.boxes).max() <= 0.5
    assert np.abs(mine.scores - theirs.scores).max() <= 0.01
    assert np.abs(mine.part_boxes - theirs.part_boxes).max() <= 0.5
    assert (mine.masks != theirs.masks).mean() <= 0.01
    for own, other in zip(mine.to_coco(4), theirs.to_coco(4), strict=True):
        assert set(other) - set(own) <= {"part_shares", "part_falls"}
        assert own["category_id"] == other["category_id"]
        assert own["segmentation"]["size"] == other["segmentation"]["size"]


def test_files_pillow_images_and_arrays_are_one(files, image_file):
    detector = onnx.Detector(files[1], score_thresh=0.0)
    with Image.open(image_file) as image:
        ways = [image_file, str(image_file), image.copy(), np.asarray(image)]
    found = [detector.predict(way) for way in ways]
    assert all(np.array_equal(one.boxes, found[0].boxes) for one in found)
    assert [one.name for one in found] == [str(image_file)] * 2 + [""] * 2
    grey = detector.predict(np.full((70, 90), 128, dtype=np.uint8))
    assert grey.image.shape == (70, 90, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_grey_is_what_training_sees(files, tmp_path, suffix):
    deep = np.random.default_rng(1).integers(0, 2**16, (70, 90), dtype=np.uint16)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(deep).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DprdWarning)
        expected = images.read_image(path, 10**6)
    assert np.array_equal(onnx.Detector(files[1]).predict(path).image, expected)
    Image.fromarray(np.full((70, 90), 70_000, dtype=np.int32)).save(tmp_path / "deeper.tif")
    with pytest.raises(DataError, match=r"deeper\.tif: .*a grey image with values outside 0\.\.65535"):
        onnx.Detector(files[1]).predict(tmp_path / "deeper.tif")


def test_scores_and_masks_are_chosen(files, image_file):
    detector = onnx.Detector(files[1])
    assert detector.score_thresh == 0.5  # the detector has not been evaluated
    whole = detector.predict(image_file, score_thresh=0.0)
    middle = float(np.median(whole.scores))
    assert (whole.above(middle).scores >= middle).all()
    assert len(whole.above(middle)) == (whole.scores >= middle).sum()
    assert len(whole.best(2)) == len(whole.best(2).masks) == 2
    without = detector.predict(image_file, score_thresh=0.0, masks=False)
    assert without.masks is None
    assert "segmentation" not in without.to_coco()[0]
    nothing = whole.above(1.1)
    assert (len(nothing), nothing.masks.shape, nothing.to_coco()) == (0, (0, 101, 150), [])
    assert repr(nothing).endswith("150x101: nothing found)")


def test_a_file_of_fixed_sizes_takes_any_image(tmp_path, image_file):
    weights, file = save_model(tmp_path / "fixed.pt", "mask-rcnn"), tmp_path / "fixed.onnx"
    assert run(["export", weights, "--out", str(file), "--image-size", "96x128", "--batch", "2"]) == 0
    found = onnx.Detector(file, score_thresh=0.0).predict(image_file)
    assert found.part_boxes is None
    assert (found.boxes[:, 2] <= 150.01).all()


def test_only_numpy_pillow_and_onnx_runtime_are_imported(files, image_file):
    line = [sys.executable, "-c", ALONE, str(files[1]), str(image_file)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == len(onnx.Detector(files[1], score_thresh=0.0).predict(image_file))
    assert rows[0]["file_name"] == "image.png"


def test_what_cannot_be_used_is_one_line(tmp_path, files):
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    with pytest.raises(UserError, match=r"text\.onnx: not an ONNX file of dprd export \("):
        onnx.Detector(text)
    with pytest.raises(UserError, match=r"none\.onnx: not an ONNX file of dprd export \("):
        onnx.Detector(tmp_path / "none.onnx")
    other = pytest.importorskip("onnx").load(str(files[1]))
    (about,) = (one for one in other.metadata_props if one.key == "dprd.json")
    about.value = json.dumps({"category_ids": [1]})
    (tmp_path / "other.onnx").write_bytes(other.SerializeToString())
    with pytest.raises(UserError, match=r"other\.onnx: not an ONNX file of dprd export \('class_names'\)"):
        onnx.Detector(tmp_path / "other.onnx")
    detector = onnx.Detector(files[1])
    with pytest.raises(DataError, match=r"text\.onnx: cannot be read as an image"):
        detector.predict(text)
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, 3\] or \[H, W\], but got float64 \(4, 4\)"):
        detector.predict(np.zeros((4, 4)))


def test_the_snippet_of_the_documentation_runs(files, image_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "detector.onnx").write_bytes(files[1].read_bytes())
    (tmp_path / "image.jpg").write_bytes(image_file.read_bytes())
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(from dprd_cli.onnx.*?)```", text, re.DOTALL)[1], names)
    assert len(capsys.readouterr().out.splitlines()) == len(names["prediction"])
