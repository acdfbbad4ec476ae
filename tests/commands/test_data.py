import json
import re
from pathlib import Path

import pytest

from dprd_cli import cli


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_synth_writes_coco_json_and_images(capsys):
    assert cli.run(["data", "synth", "set", "--train", "3", "--val", "2", "--size", "64", "--seed", "5"]) == 0
    assert capsys.readouterr() == (
        "",
        "3 images: set/train.json\n2 images: set/val.json\nnext: dprd train --data set --schedule small\n",
    )
    tree = json.loads(Path("set/train.json").read_text())
    assert len(tree["images"]) == 3
    assert all(Path("set/images", image["file_name"]).is_file() for image in tree["images"])
    assert {image["width"] for image in tree["images"]} == {64}


def test_synth_of_signposts(capsys):
    size = ["--train", "2", "--val", "1", "--size", "64", "--kind", "signpost"]
    more = ["--set", "data.signpost.level=same", "--set", "data.synthetic_train=1"]
    assert cli.run(["data", "synth", "set", *size, *more]) == 0
    assert capsys.readouterr().err.startswith("1 images: set/train.json\n1 images: set/val.json\n")
    tree = json.loads(Path("set/val.json").read_text())
    assert [c["name"] for c in tree["categories"]] == ["red", "green", "blue", "yellow"]
    assert cli.run(["data", "synth", "other", "--kind", "signposts"]) == 2
    assert "unknown kind of built-in data 'signposts' (did you mean 'signpost'?)" in capsys.readouterr().err


def test_synth_never_writes_into_a_folder_that_holds_something(capsys):
    Path("set").mkdir()
    Path("set/mine.txt").write_text("keep")
    assert cli.run(["data", "synth", "set"]) == 2
    assert capsys.readouterr().err == "error: set is not empty; choose another folder\n"
    assert [path.name for path in Path("set").iterdir()] == ["mine.txt"]
    assert cli.run(["data", "synth", "set/mine.txt"]) == 2


def test_synth_into_a_place_that_cannot_be_written(capsys):
    Path("file").write_text("")
    assert cli.run(["data", "synth", "file/set", "--train", "1", "--val", "1"]) == 5
    assert "file/set: cannot create the folder" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--size", "8"], ["--train", "0"], ["--seed", "-1"]])
def test_synth_limits(flags):
    assert cli.run(["data", "synth", "set", *flags]) == 2
    assert not Path("set").exists()


@pytest.fixture
def data():
    """Write a small data set as `set`."""
    assert cli.run(["data", "synth", "set", "--train", "3", "--val", "2", "--size", "64"]) == 0
    return Path("set")


def test_check_of_sound_data(data, capsys):
    capsys.readouterr()
    assert cli.run(["data", "check", "set"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "train  set/train.json"
    assert re.fullmatch(
        r"  3 images \(0 without objects\), \d+ objects in 6 classes \(\d+ with masks\)", lines[1]
    )
    assert re.fullmatch(r"  3 images decoded \(\d+\.\d s\)", lines[2])
    assert err.splitlines()[-1].startswith("set can be used: ")
    assert cli.run(["data", "check", "set"]) == 0
    assert "  0 images decoded, 3 known from an earlier check" in capsys.readouterr().out


def test_check_finds_everything_and_exits_with_3(data, capsys):
    tree = json.loads((data / "train.json").read_text())
    tree["annotations"][0]["category_id"] = 99
    tree["annotations"][1]["bbox"] = [1, 2]
    (data / "train.json").write_text(json.dumps(tree))
    (data / "images/val_000001.png").write_bytes(b"x")
    capsys.readouterr()
    assert cli.run(["data", "check", "set", "--workers", "1"]) == 3
    out, err = capsys.readouterr()
    assert (
        "  error   set/train.json: annotation 1 refers to category 99, which is not in 'categories'; "
        "correct the file" in out.splitlines()
    )
    assert "set/train.json: annotation 2 has bbox [1, 2], expected four finite numbers" in out
    assert "set/images/val_000001.png: not an image that is read here" in out
    assert err.startswith("error: set cannot be used as it is: 3 kinds of error")
    assert cli.run(["data", "check", "set", "--json"]) == 3
    tree = json.loads(capsys.readouterr().out)
    assert (tree["usable"], [split["split"] for split in tree["splits"]]) == (False, ["train", "val"])
    errors = [p for split in tree["splits"] for p in split["problems"] if p["severity"] == "error"]
    assert [(p["kind"], p["count"], p["first"]) for p in errors] == [
        ("category", 1, ["1"]),
        ("bbox", 1, ["2"]),
        ("not an image", 1, ["val_000001.png"]),
    ]


def test_training_does_the_same_check(data, capsys):
    (data / "images/val_000001.png").write_bytes(b"x")
    flags = ["--preset", "mask-rcnn-small", "--schedule", "small", "--steps", "1", "--device", "cpu"]
    assert cli.run(["train", "--data", "set", "--backbone", "r10", "--backbone-weights", "none", *flags]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert any(re.fullmatch(r"  3 images decoded \(\d+\.\d s\)", line) for line in lines)
    assert lines[-1] == (
        "error: set/images/val_000001.png: not an image that is read here; remove it or convert it to "
        "PNG or JPEG; or pass --set data.on_bad_image=skip"
    )
    assert not list(Path("runs").iterdir())


def test_check_without_a_split(capsys):
    Path("empty").mkdir()
    assert cli.run(["data", "check", "empty", "--json"]) == 3
    tree = json.loads(capsys.readouterr().out)
    assert [split["problems"][0]["kind"] for split in tree["splits"]] == ["annotations"]


def test_usage(data, capsys):
    for arguments, line in (
        (["check", "synthetic"], "the built-in data is drawn, not read: there is nothing to check"),
        (
            ["check", "set", "--set", "model.parts.sigma=1"],
            "--set model.parts.sigma=1: only data.* keys matter here",
        ),
        (
            ["show", "set", "--split", "valid"],
            "unknown split 'valid' (did you mean 'val'?); there are: train, val",
        ),
        (
            ["convert", "set", "new", "--to", "cocoo"],
            "unknown format 'cocoo' (did you mean 'coco'?); there are",
        ),
        (
            ["convert", "set", "set/new", "--to", "voc"],
            "set/new is inside set, into which nothing is written",
        ),
    ):
        capsys.readouterr()
        assert cli.run(["data", *arguments]) == 2
        assert capsys.readouterr().err.startswith(f"error: {line}")


def test_show(data, capsys):
    assert (
        cli.run(["data", "show", "set", "--out", "shown", "--limit", "2", "--schedule", "small", "--json"])
        == 0
    )
    files = ["shown/train_annotated0.png", "shown/train_batch0.png"]
    assert json.loads(capsys.readouterr().out) == {"files": files}
    assert all(Path(file).stat().st_size > 1000 for file in files)
    assert cli.run(["data", "show", "set", "--overwrite", "--limit", "1", "--split", "val"]) == 0
    assert capsys.readouterr().err == "shown/val_annotated0.png\n"
    assert cli.run(["data", "show", "set", "--out", "set/train.json"]) == 2


def test_stats(data, capsys):
    assert cli.run(["data", "stats", "set", "--out", "plots", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert [split["images"] for split in tree["splits"]] == [3, 2]
    assert tree["files"] == ["plots/classes.png", "plots/objects.png"]
    assert cli.run(["data", "stats", "set", "--preset", "dprd-small"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("images", "share at 0.7 or above", "tadpole", "val objects"))


def test_convert(capsys):
    assert cli.run(["data", "synth", "set", "--train", "20", "--val", "2", "--size", "64"]) == 0
    capsys.readouterr()
    assert cli.run(["data", "convert", "set", "new", "--to", "yolo", "--images", "link"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("train: 20 images, ")
    assert lines[-1] == "next: dprd data check new"
    assert cli.run(["data", "check", "new"]) == 0
    capsys.readouterr()
    assert cli.run(["data", "convert", "new", "again", "--to", "voc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "voc"
    assert cli.run(["data", "check", "again"]) == 0
