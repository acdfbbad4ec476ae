import runpy
import sys

import pytest

from dprd_cli.weights.checkpoint import read_checkpoint
from dprd_cli.weights.find import find_checkpoint
from paths import ROOT

SCRIPT = ROOT / "scripts" / "without_heads.py"


def test_all_but_the_roi_heads_is_copied(tmp_path, monkeypatch, capsys):
    target = tmp_path / "trunk.pt"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "demo", str(target)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    before, after = read_checkpoint(find_checkpoint("demo")), read_checkpoint(target)
    heads = {name for name in before["model"] if name.startswith("roi_heads.")}
    assert heads
    assert set(after["model"]) == set(before["model"]) - heads
    assert all(tensor.equal(before["model"][name]) for name, tensor in after["model"].items())
    assert after["class_names"] == before["class_names"]
    assert f"{len(after['model'])} of {len(before['model'])} tensors" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    target = tmp_path / "trunk.pt"
    target.write_text("mine")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "demo", str(target)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert target.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err
