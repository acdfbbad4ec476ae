"""Images of every kind through `dprd predict`: the readable are predicted, the others told and counted."""

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.api import Model
from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.errors import DataError
from dprd_cli.files import images
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from dprd_cli.weights.load import load_model
from paths import TINY

#: Brightest in the upper left corner, so that it shows which way up it is.
SCENE = (np.linspace(255, 0, 24)[:, None, None] * np.linspace(1, 0, 32)[:, None] * [1, 1, 1]).astype(np.uint8)


def turned(path, orientation):
    """Write the scene as a camera held otherwise does: turned pixels, and a tag that turns them back."""
    ways = {2: "fliplr", 3: "rot180", 4: "flipud", 5: "transpose", 6: "left", 7: "across", 8: "right"}
    undo = {
        "fliplr": np.fliplr,
        "rot180": lambda a: np.rot90(a, 2),
        "flipud": np.flipud,
        "transpose": lambda a: a.transpose(1, 0, 2),
        "left": lambda a: np.rot90(a, 1),
        "across": lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        "right": lambda a: np.rot90(a, -1),
    }
    pixels = SCENE if orientation == 1 else undo[ways[orientation]](SCENE)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)


def animated(path):
    first, *others = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue", "green")]
    first.save(path, save_all=True, append_images=others)


def deep(path):
    Image.fromarray(SCENE[..., 0].astype(np.uint16) * 257).save(path)


def alpha(path):
    Image.fromarray(np.dstack([SCENE, np.full((24, 32), 9, np.uint8)])).save(path)


def cut(path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


#: File name -> (how it is made, its (width, height) when upright).
GOOD = {
    **{f"turned{n}.jpg": (lambda path, n=n: turned(path, n), (32, 24)) for n in range(1, 9)},
    "alpha.png": (alpha, (32, 24)),
    "cmyk.jpg": (lambda path: Image.fromarray(SCENE).convert("CMYK").save(path, quality=95), (32, 24)),
    "deep.png": (deep, (32, 24)),
    "dot.png": (lambda path: Image.new("RGB", (1, 1)).save(path), (1, 1)),
    "moves.gif": (animated, (32, 24)),
    "palette.png": (lambda path: Image.fromarray(SCENE).quantize(64).save(path), (32, 24)),
    "tall.png": (lambda path: Image.new("RGB", (2, 20_000)).save(path), (2, 20_000)),
    "wide.png": (lambda path: Image.new("RGB", (20_000, 3)).save(path), (20_000, 3)),
}
BAD = {
    "cut.jpg": (cut, "truncated or corrupt"),
    "cut.png": (cut, "truncated or corrupt"),
    "empty.jpg": (lambda path: path.touch(), "the file is empty"),
    "float.tif": (
        lambda path: Image.fromarray(SCENE[..., 0].astype(np.float32)).save(path),
        "floating-point",
    ),
    "text.jpg": (lambda path: path.write_text("hello"), "not an image that is read here"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A detector that was never trained, and finds something everywhere."""
    config = resolve(config_file=TINY, overrides=["model.test.score_thresh=0", "data.max_size=128"])
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog"],
        "category_ids": [3, 7],
        "with_masks": True,
        "model": build_detector(config.model, num_classes=2, with_masks=True).state_dict(),
        "step": 7,
    }
    save_checkpoint(path, payload)
    return str(path)


@pytest.fixture(autouse=True)
def _there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(images, "_warned_deep", True)  # the warning itself is tested with the reader


def predict(capsys, *arguments):
    code = run(["predict", *arguments, "--json", "--score-thresh", "0", "--out", "out"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err.splitlines()


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (2, 3)])
def test_every_kind_of_image(capsys, weights, workers, batch_size):
    Path("in").mkdir()
    for name, (write, _) in {**GOOD, **BAD}.items():
        write(Path("in") / name)
    code, document, lines = predict(
        capsys, "in", "--weights", weights, "--workers", str(workers), "--batch-size", str(batch_size),
        "--save", "images,coco,csv,labelme,masks,crops",
    )  # fmt: skip
    assert code == 3
    assert lines[-1] == "error: 5 of 21 images could not be read; the others are in out/"
    assert [row["file"] for row in document["images"]] == sorted(f"in/{name}" for name in GOOD)
    assert [row["file"] for row in document["errors"]] == sorted(f"in/{name}" for name in BAD)
    for row in document["errors"]:
        assert BAD[Path(row["file"]).name][1] in row["message"]
        assert f"skipped: {row['message']}" in lines
    sizes = {
        row["file_name"]: (row["width"], row["height"])
        for row in json.loads(Path("out/images.json").read_text())
    }
    assert sizes == {f"in/{name}": size for name, (_, size) in GOOD.items()}
    for name, (_, (width, height)) in GOOD.items():
        boxes = [
            found["box"]
            for row in document["images"]
            if row["file"] == f"in/{name}"
            for found in row["objects"]
        ]
        assert all(0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height for x1, y1, x2, y2 in boxes)
        drawn = Path("out") / Path(name).with_suffix(".jpg" if name.endswith(".jpg") else ".png")
        with Image.open(drawn) as image:  # in proportion, and not much larger than the image
            assert max(image.size) <= max(width, height, 1000)
        assert (Path("out/labelme") / name).with_suffix(".json").is_file()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images_are_seen_upright(capsys, weights, orientation):
    turned(Path("a.jpg"), orientation)
    assert predict(capsys, "a.jpg", "--weights", weights, "--save", "images", "--score-thresh", "1")[0] == 0
    upper_left, lower_right = (
        np.asarray(Image.open("out/a.jpg"))[part].mean() for part in (np.s_[:90, :90], np.s_[-90:, -90:])
    )
    assert upper_left > 150
    assert lower_right < 40


def test_names_in_a_list_that_are_no_images(capsys, weights):
    """What a list names may be anything: each is told, and the next one is done."""
    Image.fromarray(SCENE).save("good.png")
    Path("folder.png").mkdir()
    Path("loop.png").symlink_to("loop.png")
    Path("dangling.png").symlink_to("gone.png")
    os.mkfifo("pipe.png")
    names = [
        "folder.png",
        "loop.png",
        "dangling.png",
        "pipe.png",
        "../../../etc/nothing.png",
        "/",
        "good.png",
    ]
    Path("names.txt").write_text("\n".join([*names, "x" * 5000]))
    code, document, lines = predict(capsys, "@names.txt", "--weights", weights)
    assert code == 3
    reasons = dict(zip(names, (row["message"] for row in document["errors"]), strict=False))
    assert "pipe.png: a device or pipe" in reasons["pipe.png"]
    assert "/: a folder" in reasons["/"]
    assert "no such file" in reasons["dangling.png"]
    assert "symbolic links" in reasons["loop.png"]
    assert "name too long" in document["errors"][-1]["message"]
    assert [row["file"] for row in document["images"]] == ["good.png"]
    assert [row["file"] for row in document["errors"]] == [*names[:-1], "x" * 5000]
    assert lines[-1] == "error: 7 of 8 images could not be read; the others are in out/"


def test_a_link_and_a_path_upwards_are_the_user_s_to_give(capsys, weights):
    """Unlike names in an annotation file, names on the command line are trusted; results stay in --out."""
    Image.fromarray(SCENE).save("a.png")
    Path("in").mkdir()
    Path("in/b.png").symlink_to("../a.png")
    code, document, _ = predict(
        capsys, "in/../in/b.png", "--weights", weights, "--save", "images,labelme,masks"
    )
    assert code == 0
    assert document["images"][0]["drawing"] == "out/b.png"
    assert {path.name for path in Path().iterdir()} == {"a.png", "in", "out"}
    assert [path.name for path in Path("in").iterdir()] == ["b.png"]


def test_names_that_no_file_can_have(capsys, weights, monkeypatch):
    Image.fromarray(SCENE).save("a.png")
    Path("loop.png").symlink_to("loop.png")
    assert Model(load_model(weights)).predict("a.png").image_size == (24, 32)
    with pytest.raises(DataError, match=r"'a\\x00.png': no file can have this name"):
        Model(load_model(weights)).predict("a\0.png")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a.png\0b\n.png\0")))
    code, document, _ = predict(capsys, "-", "--null", "--weights", weights)
    assert code == 3
    assert [row["file"] for row in document["errors"]] == ["b\n.png"]
    for name in ("a\0.png", "x" * 5000, "loop.png"):
        assert run(["predict", name, "--weights", weights]) == 3
        assert "no such file or folder" in capsys.readouterr().err.splitlines()[-1]
