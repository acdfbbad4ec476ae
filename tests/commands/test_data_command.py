import json
from pathlib import Path

import pytest

from dprd_cli import cli


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_synth_writes_coco_json_and_pictures(capsys):
    assert cli.run(["data", "synth", "set", "--train", "3", "--val", "2", "--size", "64", "--seed", "5"]) == 0
    assert capsys.readouterr() == (
        "",
        "3 pictures: set/train.json\n2 pictures: set/val.json\n"
        "next: dprd train --data set --schedule small\n",
    )
    tree = json.loads(Path("set/train.json").read_text())
    assert len(tree["images"]) == 3
    assert all(Path("set/images", image["file_name"]).is_file() for image in tree["images"])
    assert {image["width"] for image in tree["images"]} == {64}


def test_synth_never_writes_into_a_folder_that_holds_something(capsys):
    Path("set").mkdir()
    Path("set/mine.txt").write_text("keep")
    assert cli.run(["data", "synth", "set"]) == 2
    assert capsys.readouterr().err == "error: set is not empty; choose another folder\n"
    assert [path.name for path in Path("set").iterdir()] == ["mine.txt"]
    assert cli.run(["data", "synth", "set/mine.txt"]) == 2


def test_synth_into_a_place_that_cannot_be_written(capsys):
    Path("file").write_text("")
    assert cli.run(["data", "synth", "file/set", "--train", "1", "--val", "1"]) == 3
    assert "cannot write the data set" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--size", "8"], ["--train", "0"], ["--seed", "-1"]])
def test_synth_limits(flags):
    assert cli.run(["data", "synth", "set", *flags]) == 2
    assert not Path("set").exists()
