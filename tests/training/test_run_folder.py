"""Run folders: their names, what describes a run, what can be resumed, and that one process holds them."""

import json
import os

import pytest
import torch

from dprd_cli.config.tree import read_toml, validate
from dprd_cli.errors import DprdWarning, ResourceError, UsageError, UserError
from dprd_cli.training.run_folder import describe_run, new_run_folder, read_resumable, run_lock
from training_runs import tiny


def test_a_broken_last_checkpoint_falls_back_to_the_previous_one(straight, tmp_path):
    folder, _ = straight
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "last.pt").write_bytes(b"PK broken")
    with pytest.warns(DprdWarning, match=r"last\.pt: not a checkpoint, or truncated.*; trying previous\.pt"):
        assert read_resumable(tmp_path)["step"] == 3
    flipped = bytearray((tmp_path / "previous.pt").read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "last.pt").write_bytes(flipped)
    with pytest.warns(DprdWarning, match=r"last\.pt: .*; trying previous\.pt"):
        assert read_resumable(tmp_path)["step"] == 3
    (tmp_path / "last.pt").write_bytes(b"broken")
    (tmp_path / "previous.pt").write_bytes(b"")
    with pytest.warns(DprdWarning), pytest.raises(UserError, match=r"previous\.pt: not a checkpoint"):
        read_resumable(tmp_path)


def test_there_may_be_nothing_to_resume(tmp_path, straight):
    with pytest.raises(UserError) as caught:
        read_resumable(tmp_path)
    assert str(caught.value) == f"no run to resume in {tmp_path}; start one with `dprd train`"
    (tmp_path / "last.pt").write_bytes((straight[0] / "best.pt").read_bytes())
    with pytest.raises(UserError, match="holds no optimizer state; it cannot be resumed"):
        read_resumable(tmp_path)


def test_run_folders_are_numbered_and_never_overwritten(tmp_path):
    config = tiny()
    assert new_run_folder(config, runs=tmp_path) == tmp_path / "cascade-dprd-small-mobilenet_v2-synthetic-1"
    assert new_run_folder(config, runs=tmp_path) == tmp_path / "cascade-dprd-small-mobilenet_v2-synthetic-2"
    other = tiny("data.path=some/where/pets")
    assert new_run_folder(other, runs=tmp_path).name == "cascade-dprd-small-mobilenet_v2-pets-1"
    out = tmp_path / "mine"
    assert new_run_folder(config, out) == out
    (out / "notes.txt").write_text("keep")
    with pytest.raises(UsageError) as caught:
        new_run_folder(config, out)
    assert str(caught.value) == (
        f"{out} is not empty; choose another --out, or continue that run with --resume {out}"
    )


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot create the run folder"):
        new_run_folder(tiny(), tmp_path / "file" / "run")


def test_a_run_is_described_so_that_it_can_be_done_again(tmp_path):
    describe_run(tmp_path, tiny(), torch.device("cpu"))
    assert validate(read_toml(tmp_path / "config.toml")) == tiny()
    first = (tmp_path / "environment.json").read_bytes()
    assert json.loads(first)["torch"] == torch.__version__
    (tmp_path / "environment.json").write_text("{}")
    describe_run(tmp_path, tiny("train.steps=9"), torch.device("cpu"))
    assert validate(read_toml(tmp_path / "config.toml")).train.steps == 9  # the next resume must know
    assert (tmp_path / "environment.json").read_text() == "{}"  # the first one's stays


def test_files_that_a_kill_left_half_written_go(tmp_path):
    describe_run(tmp_path, tiny(), torch.device("cpu"))
    (tmp_path / ".last.pt.1.tmp").write_bytes(b"half")
    assert read_resumable(tmp_path) is None
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_run_that_another_process_trains_is_named(tmp_path):
    with run_lock(tmp_path):
        assert int((tmp_path / ".lock").read_text()) == os.getpid()
    assert not list(tmp_path.iterdir())
