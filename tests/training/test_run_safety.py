"""What befalls runs outside of training: settings that do not fit, moved data, closed streams, leftovers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dprd_cli import cli
from dprd_cli.runtime.signals import StopRequest
from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import ROOT, TINY

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
START = ["train", "--config", str(TINY), "--backbone-weights", "none"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "ds"
    assert cli.run(["data", "synth", str(folder), "--train", "6", "--val", "4", "--size", "64"]) == 0
    return folder


@pytest.fixture
def run(tmp_path, dataset):
    """A run of three steps, made anew for each test that changes it."""
    folder = tmp_path / "run"
    assert cli.run([*START, "--data", str(dataset), "--steps", "3", "--out", str(folder)]) == 0
    return folder


def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def last_line(capsys):
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--set", "train.optimizer=sgd"], 1, "train.optimizer=sgd (it was adamw)"),
        (["--set", "model.neck.channels=32"], 1, "neck"),
        (["--steps", "2"], 2, "has done 3 steps"),
        (["--set", "train.lr=inf"], 2, "finite"),
        (["--set", "train.weight_decay=inf"], 2, "finite"),
        (["--set", "data.scale_jitter=[0.1, inf]"], 2, "finite"),
    ],
)
def test_settings_that_do_not_fit_change_nothing(run, capsys, more, code, words):
    before = state(run)
    capsys.readouterr()
    assert cli.run(["train", "--resume", str(run), *more]) == code
    assert words in last_line(capsys)
    assert state(run) == before
    assert cli.run(["train", "--resume", str(run), "--steps", "4"]) == 0


def test_data_that_moved_is_taken_and_other_data_is_not(run, dataset, tmp_path, capsys):
    moved = tmp_path / "moved"
    moved.symlink_to(dataset)
    assert cli.run(["train", "--resume", str(run), "--data", str(moved), "--steps", "4"]) == 0
    assert read_checkpoint(run / "last.pt")["step"] == 4
    other = tmp_path / "other"
    synth = ["data", "synth", str(other), "--train", "5", "--val", "4", "--size", "64"]
    assert cli.run(synth) == 0
    before = state(run)
    capsys.readouterr()
    assert cli.run(["train", "--resume", str(run), "--data", str(other), "--steps", "5"]) == 3
    assert "not the images that" in last_line(capsys)
    assert state(run) == before


def test_a_folder_that_a_kill_left_empty_can_be_used(tmp_path, dataset, capsys):
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / ".lock").touch()
    assert cli.run(["train", "--resume", str(folder)]) == 1
    assert f"dprd train --out {folder} starts one there" in last_line(capsys)
    assert cli.run([*START, "--data", str(dataset), "--steps", "1", "--out", str(folder)]) == 0


def test_spoilt_lines_of_the_metrics_are_left_out(run):
    rows = read_metrics(run / "metrics.jsonl")
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{\n" + b"[" * 100_000 + b'\n{"step": "x", "kind": "train"}\n')
    assert read_metrics(run / "metrics.jsonl") == rows
    assert cli.run(["train", "--resume", str(run), "--steps", "4"]) == 0


def test_weights_that_explode_end_the_run_and_are_not_saved(tmp_path, dataset, capsys):
    folder = tmp_path / "run"
    argv = [*START, "--data", str(dataset), "--steps", "30", "--out", str(folder)]
    more = ["--set", "train.lr=1e6", "--set", "train.warmup_steps=0", "--set", "train.clip_norm=0"]
    assert cli.run([*argv, *more]) == 4
    line = last_line(capsys)
    assert "this is a bug" not in line
    assert "lower the learning rate" in line
    assert json.loads((folder / "diverged.json").read_text())["not_finite"]
    weights = read_checkpoint(folder / "last.pt")["model"]
    assert all(bool(torch.isfinite(w).all()) and w.abs().max() < 1e6 for w in weights.values() if w.numel())
    assert cli.run(["train", "--resume", str(folder), "--set", "train.lr=1e-3", "--steps", "2"]) == 0


@pytest.mark.parametrize(("steps", "told"), [(2, False), (1, True)])
def test_a_warm_up_that_is_longer_than_the_run_is_told(tmp_path, dataset, capsys, steps, told):
    argv = [*START, "--data", str(dataset), "--steps", str(steps), "--out", str(tmp_path / "run")]
    assert cli.run([*argv, "--set", "train.warmup_steps=2"]) == 0
    line = (
        f"the warm-up of 2 steps is longer than the run of {steps}: the learning rate never gets to train.lr"
    )
    assert (line in capsys.readouterr().err) == told


def test_no_best_checkpoint_is_promised_where_there_is_none(tmp_path, dataset, capsys):
    empty = tmp_path / "ds"
    shutil.copytree(dataset, empty)
    (annotations,) = (path for path in empty.rglob("*.json") if "val" in path.name)
    tree = json.loads(annotations.read_text())
    annotations.write_text(json.dumps({**tree, "annotations": []}))
    capsys.readouterr()
    argv = [*START, "--data", str(empty), "--steps", "1", "--out", str(tmp_path / "run"), "--json"]
    assert cli.run(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["best"] is None
    assert "(last.pt, " in err


def process(arguments, **how):
    return subprocess.Popen([sys.executable, "-m", "dprd_cli", *arguments], env=ENVIRONMENT, **how)


def test_a_log_pipe_that_goes_away_ends_nothing(tmp_path, dataset):
    folder = tmp_path / "run"
    argv = [*START, "--data", str(dataset), "--steps", "6", "--out", str(folder)]
    running = process(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    for line in running.stderr:
        if line.startswith(b"step 1"):
            break
    running.stderr.close()
    assert running.wait(120) == 0
    assert read_checkpoint(folder / "last.pt")["step"] == 6
    assert (folder / "results.json").exists()


def test_closed_streams_stay_silent(tmp_path):
    shell = f"exec {sys.executable} -m dprd_cli config show dprd --json 2>&-"
    done = subprocess.run(shell, shell=True, env=ENVIRONMENT, stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["preset"]) == (0, "dprd")
    shell = f"{sys.executable} -m dprd_cli config show dprd 2>&1 | head -n 1"
    done = subprocess.run(shell, shell=True, env=ENVIRONMENT, stdout=subprocess.PIPE, timeout=60)
    (line,) = done.stdout.decode().splitlines()
    assert line.startswith('preset = "dprd"')


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_that_the_parent_ignores_stay_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            assert stop.exit_code == 0
    finally:
        signal.signal(number, before)


def test_a_terminal_that_hangs_up_asks_to_stop():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.05)
        assert stop.exit_code == 143


def test_the_order_in_which_a_run_is_resumed_leaves_the_folder_alone_first(run, monkeypatch):
    """Nothing is written before the state is complete: not even the metrics of later steps are cut."""
    rows = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(rows + b'{"kind": "train", "step": 99, "loss": 1.0}\n')
    before = state(run)
    assert cli.run(["train", "--resume", str(run), "--set", "train.optimizer=sgd"]) == 1
    assert state(run) == before
    assert Path(run / "config.toml").read_bytes() == before["config.toml"]
