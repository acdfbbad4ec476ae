import os
import subprocess
import sys

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.config.tree import read_toml, validate
from dprd_cli.errors import DprdWarning, UsageError, UserError
from dprd_cli.training.run_folder import BusyError, RunLock, describe_run, new_run_folder, read_resumable
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import ROOT

PAYLOAD = {
    "config": {},
    "class_names": ["cat"],
    "category_ids": [1],
    "with_masks": False,
    "model": {"a": torch.zeros(2)},
    "step": 3,
    "optimizer": {},
}


def test_runs_are_numbered(tmp_path):
    config = resolve(preset="dprd-small")
    first, second = (new_run_folder(config, runs=tmp_path) for _ in range(2))
    assert [first.name, second.name] == ["dprd-small-r10-synthetic-1", "dprd-small-r10-synthetic-2"]
    assert new_run_folder(config, runs=tmp_path, prefix="lr-").name == "lr-dprd-small-r10-synthetic-1"


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    config = resolve()
    (tmp_path / ".lock").touch()
    (tmp_path / ".last.pt.tmp").touch()
    assert new_run_folder(config, tmp_path) == tmp_path  # left by a run that was killed at once
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="is not empty"):
        new_run_folder(config, tmp_path)


def test_the_description_reproduces_the_run_and_keeps_the_first_environment(tmp_path):
    config = resolve(preset="dprd-small")
    describe_run(tmp_path, config, torch.device("cpu"))
    before = (tmp_path / "environment.json").read_text()
    longer = config.model_copy(update={"train": config.train.model_copy(update={"steps": 7})})
    describe_run(tmp_path, longer, torch.device("cpu"))
    assert validate(read_toml(tmp_path / "config.toml")) == longer
    assert (tmp_path / "environment.json").read_text() == before


def test_the_newest_sound_checkpoint_is_resumed(tmp_path):
    with pytest.raises(UserError, match="no run to resume"):
        read_resumable(tmp_path)
    (tmp_path / "config.toml").touch()
    assert read_resumable(tmp_path) is None  # stopped before it saved
    save_checkpoint(tmp_path / "last.pt", PAYLOAD)
    save_checkpoint(tmp_path / "last.pt", {**PAYLOAD, "step": 4}, previous=tmp_path / "previous.pt")
    assert read_resumable(tmp_path)["step"] == 4
    damaged = bytearray((tmp_path / "last.pt").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "last.pt").write_bytes(damaged)
    with pytest.warns(DprdWarning, match=r"trying previous\.pt"):
        assert read_resumable(tmp_path)["step"] == 3


def test_a_run_is_held_by_one_process(tmp_path):
    """Locks are a process's own: another one finds it held, and free after the end."""
    code = (
        "import sys; from pathlib import Path; from dprd_cli.training.run_folder import BusyError, RunLock\n"
        "try:\n    RunLock(Path(sys.argv[1])).__enter__()\nexcept BusyError:\n    sys.exit(7)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with RunLock(tmp_path):
        assert subprocess.run(command, env=environment, check=False).returncode == 7
    assert not (tmp_path / ".lock").exists()
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert issubclass(BusyError, UserError)
