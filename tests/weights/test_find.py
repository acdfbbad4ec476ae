"""Which file `--weights` stands for."""

import os
from pathlib import Path

import pytest

from dprd_cli.errors import UserError
from dprd_cli.weights.find import find_checkpoint, find_preset, newest_run


def test_a_run_folder_gives_its_best_then_last_then_previous(tmp_path):
    for name in ("previous", "last", "best"):
        (tmp_path / f"{name}.pt").write_bytes(b"")
        assert find_checkpoint(str(tmp_path)) == tmp_path / f"{name}.pt"
    assert find_checkpoint(str(tmp_path / "previous.pt")) == tmp_path / "previous.pt"


def test_without_a_name_the_newest_run_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("old", "new", "empty")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        if name != "empty":
            (folder / "last.pt").write_bytes(b"")
            os.utime(folder / "last.pt", (number, number))
    assert newest_run() == Path("runs/new")
    assert find_checkpoint("") == Path("runs/new/last.pt")


def test_what_to_do_without_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        find_checkpoint("")
    line = "no checkpoint in runs/; train one with `dprd train`, or pass --weights voc or demo"
    assert str(caught.value) == line
    with pytest.raises(
        UserError, match=r"^no such checkpoint: gone; pass a file, a run folder, or one of: voc"
    ):
        find_checkpoint("gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"^no checkpoint in empty/; train one"):
        find_checkpoint("empty")


def test_the_newest_run_but_those_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, preset in enumerate(("dprd", "cascade-mrcnn-small")):
        folder = tmp_path / "runs" / preset
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(f'preset = "{preset}"\n')
        (folder / "last.pt").write_bytes(b"")
        os.utime(folder / "last.pt", (number, number))
    assert newest_run() == Path("runs/cascade-mrcnn-small")
    assert newest_run(but="cascade-mrcnn") == Path("runs/dprd")


def test_beside_a_demo_a_preset_is_the_demo_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_preset("cascade-mrcnn", beside="demo") == "demo-cascade-mrcnn"
    assert find_preset("cascade-dprd", beside="demo-cascade-mrcnn") == "demo"
    with pytest.raises(UserError, match="no run of preset dprd in"):
        find_preset("dprd", beside="demo")  # there is no demo of it
