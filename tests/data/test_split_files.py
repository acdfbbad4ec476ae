"""Writing a division: files, links, and what is refused."""

import json

import pytest

from data_folders import load, refused, write_split
from dprd_cli import cli
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.division import DivisionRule
from dprd_cli.data.split_files import FRAMES, frame_hint, split_files
from dprd_cli.errors import UsageError


@pytest.fixture
def whole(tmp_path):
    """A folder with one json of nine images."""
    write_split(tmp_path / "set" / "mine.json", tmp_path / "set" / "images", 9)
    return tmp_path / "set"


def test_the_command_says_what_it_wrote_and_what_is_next(whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["data", "split", str(whole), str(out), "--val", "0.2", "--test", "0.1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-4:] == [
        "train: 6 images, 6 objects (cup 6)",
        "val: 2 images, 2 objects (cup 2)",
        "test: 1 image, 0 objects",
        f"next: dprd train --data {out}",
    ] or [line.partition(":")[0] for line in lines[-4:]] == ["train", "val", "test", "next"]
    train, val = load(out)
    assert len(train) + len(val) == 8
    assert cli.run(["data", "split", str(whole), str(out)]) == 2  # it is not empty now
    assert cli.run(["data", "split", str(whole), str(tmp_path / "more"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == {"train": 7, "val": 2}


def test_the_same_division_as_training_makes_itself(whole, tmp_path):
    split_files(DataConfig(path=str(whole)), tmp_path / "out", DivisionRule())
    written = [one.file_names for one in load(tmp_path / "out")]
    assert written == [one.file_names for one in load(whole)]


def test_copies_need_no_link(whole, tmp_path):
    out = tmp_path / "out"
    split_files(DataConfig(path=str(whole)), out, DivisionRule(), images="copy")
    assert not (out / "images").is_symlink()
    assert sorted(path.name for path in (out / "images").iterdir()) == [f"p{n}.png" for n in range(1, 10)]


@pytest.mark.parametrize("rule", [DivisionRule(0), DivisionRule(0.5, 0.5), DivisionRule(0.2, -0.1)])
def test_shares_that_leave_nothing(whole, tmp_path, rule):
    with pytest.raises(UsageError, match="--val and --test are shares of the images"):
        split_files(DataConfig(path=str(whole)), tmp_path / "out", rule)


def test_what_is_divided_already_or_broken(cups, tmp_path, whole):
    config = DataConfig(path=str(cups))
    assert "splits already; name one file with --set data.train_json=FILE" in refused(
        lambda: split_files(config, tmp_path / "o", DivisionRule())
    )
    config = DataConfig(path=str(cups), train_json="val.json")  # that one is divided
    assert split_files(config, tmp_path / "named", DivisionRule()).images == {"train": 4, "val": 1}
    (whole / "images" / "p1.png").unlink()
    config = DataConfig(path=str(whole))
    assert "1 of 9 images missing" in refused(lambda: split_files(config, tmp_path / "o", DivisionRule()))
    with pytest.raises(UsageError, match="the built-in data has its splits"):
        split_files(DataConfig(), tmp_path / "o", DivisionRule())
    assert not (tmp_path / "o").exists()


def test_names_that_look_like_frames_are_hinted_at():
    frames = [f"clip_{clip}/{n:04d}.jpg" for clip in "ab" for n in range(9)]
    assert frame_hint(frames).endswith(f"--group-by '{FRAMES}'")
    for names in ([f"{n}.jpg" for n in range(20)], ["a1.jpg", "b2.jpg"], []):
        assert frame_hint(names) == ""
