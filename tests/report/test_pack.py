"""`dprd weights pack`: a run as a folder that another machine can use."""

import json
from pathlib import Path

import pytest
import torch

from dprd_cli import cli
from dprd_cli.errors import UsageError
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.report.pack import PackOptions, pack_weights
from dprd_cli.weights.checkpoint import read_checkpoint, save_checkpoint
from dprd_cli.weights.load import load_model
from pages import make_run
from paths import visible

RESULTS = {"step": 3, "images": 4, "split": "val", "bbox": {"AP": 12.5}, "classes": [], "part_iou": 0.9}


@pytest.fixture
def run(tiny_checkpoint, tmp_path, monkeypatch):
    """Make a run folder whose data lies somewhere on this machine."""
    monkeypatch.chdir(tmp_path)
    content = read_checkpoint(Path(tiny_checkpoint))
    content["config"]["data"]["path"] = str(tmp_path / "secret" / "birds")
    content["config"]["train"]["weights"] = str(tmp_path / "secret" / "start.pt")
    content["score_thresh"] = 0.25
    save_checkpoint(tmp_path / "own.pt", content)
    older = {**RESULTS, "step": 2, "images": 9, "bbox": {"AP": 99.0}}
    files = {"eval_val.json": json.dumps(RESULTS), "results.json": json.dumps(older)}
    folder = make_run("run", tmp_path / "own.pt", **files)
    (folder / "parts.png").write_bytes(b"png")
    return folder


def test_a_run_is_packed_whole(run):
    assert cli.run(["weights", "pack", "run", "out", "--license", "mit", "--name", "birds"]) == 0
    assert visible("out") == ["README.md", "images", "model.safetensors"]
    assert visible("out/images") == ["parts.png"]
    packed = read_checkpoint(Path("out/model.safetensors"))
    before = read_checkpoint(run / "best.pt")
    assert all(torch.equal(before["model"][name], tensor) for name, tensor in packed["model"].items())
    assert len(packed["model"]) == len(before["model"])
    assert packed["score_thresh"] == 0.25
    assert packed["provenance"]["bbox_AP"] == 12.5
    card = Path("out/README.md").read_text()
    assert "# birds" in card
    assert "license: mit" in card
    assert "| box | 12.5 |" in card, "of these weights, not of more images at another step"
    assert "(dprd eval, eval\\_val.json)" in card
    assert "dprd eval --weights WEIGHTS --data DATA" in card
    assert load_model("out", "cpu").shown_from == 0.25, "the folder is what --weights takes"


def test_folders_of_this_machine_stay_here(run, tmp_path):
    pack_weights("run", OutputChoice(Path("out")))
    data = Path("out/model.safetensors").read_bytes() + Path("out/README.md").read_bytes()
    assert b"secret" not in data
    config = read_checkpoint(Path("out/model.safetensors"))["config"]
    assert (config["data"]["path"], config["train"]["weights"]) == ("birds", "start.pt")


def test_a_file_alone_is_packed_without_what_is_not_known(tiny_checkpoint, tmp_path):
    out = tmp_path / "out"
    made = pack_weights(tiny_checkpoint, OutputChoice(out), PackOptions(images=False))
    assert (made.step, made.evaluation, list(made.files)) == (3, None, ["model.safetensors", "README.md"])
    assert made.to_json()["folder"] == str(out)
    assert "no evaluation of these weights was recorded" in (out / "README.md").read_text()


def test_what_is_there_is_not_lost(run, capsys):
    assert cli.run(["weights", "pack", "run", "out"]) == 0
    assert cli.run(["weights", "pack", "run", "out"]) == 2
    assert "OUT out: holds results of `dprd weights pack`" in capsys.readouterr().err
    assert cli.run(["weights", "pack", "run", "out", "--overwrite", "--no-images"]) == 0
    assert visible("out") == ["README.md", "model.safetensors"]
    with pytest.raises(UsageError, match="--license My own: expected the hub's name of one"):
        pack_weights("run", OutputChoice(Path("other")), PackOptions(licence="My own"))


@pytest.mark.parametrize(
    "fault", [{"segm": 3}, {"classes": 3}, {"classes": [3]}, {"bbox": {"AP": "x"}}, {"split": 3}]
)
def test_an_evaluation_that_is_none_breaks_nothing(run, fault):
    (run / "eval_val.json").write_text(json.dumps(RESULTS | fault))
    assert cli.run(["weights", "pack", "run", "out"]) == 0


def test_a_packed_folder_is_not_replaced_by_itself(run, capsys):
    pack_weights("run", OutputChoice(Path("out")))
    before = Path("out/model.safetensors").read_bytes()
    for spec in ("out", "out/model.safetensors"):
        assert cli.run(["weights", "pack", spec, "out", "--overwrite"]) == 2
        assert "OUT out: holds files that are read; choose another folder" in capsys.readouterr().err
    assert Path("out/model.safetensors").read_bytes() == before
