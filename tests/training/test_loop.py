"""A run from its configuration to its results, and as a process of its own that is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from dprd_cli.config.tree import read_toml, validate
from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import TINY
from training_runs import tiny

COMMAND = [sys.executable, "-m", "dprd_cli", "train"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ONE_PASS = 60  # seconds that a subprocess may take

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_leaves_everything(straight):
    folder, results = straight
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.toml", "environment.json", "metrics.jsonl", "metrics.csv", "results.json",
        "last.pt", "previous.pt", "best.pt", "loss.png", "ap.png", "parts.png",
        "train_batch0.png", "train_batch1.png", "parts_step2.png", "parts_step4.png",
    }  # fmt: skip
    assert json.loads((folder / "results.json").read_text()) == results.to_json()
    assert (
        results.evaluation.coco.images == 4
    )  # the end takes the whole split, evaluation on the way two images
    assert validate(read_toml(folder / "config.toml")) == tiny("train.eval_every=2", "train.eval_limit=2")
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["command"].startswith("dprd")


def test_metrics_have_every_loss_and_diagnostic(straight):
    folder, _ = straight
    rows = read_metrics(folder / "metrics.jsonl")
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("train", 1), ("train", 2), ("eval", 2), ("train", 3), ("train", 4), ("eval", 4),
    ]  # fmt: skip
    first = rows[0]
    assert first["lr"] == pytest.approx(2e-3 * 0.001)
    parts = [value for key, value in first.items() if key.startswith("loss_")]
    assert first["loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert {"grad_norm", "part_grad_norm", "part_iou", "part_fallback", "comb_parts_win", "num_fg",
            "seconds_per_step", "data_wait"} <= first.keys()  # fmt: skip
    assert {"bbox_AP", "segm_AP", "recall50", "recall70", "images"} <= rows[2].keys()
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("kind,step,loss,")
    assert {line.count(",") for line in lines} == {lines[0].count(",")}


def test_the_checkpoints_hold_what_they_should(straight):
    folder, _ = straight
    last, previous, best = (read_checkpoint(folder / f"{name}.pt") for name in ("last", "previous", "best"))
    assert (last["step"], previous["step"]) == (4, 3)
    assert last["class_names"][0] == "tadpole"
    assert last["with_masks"] is True
    assert "optimizer" not in best


def run_until_step(folder, step):
    """Start a long run as a process, and return it once it has logged a step."""
    flags = ["--config", str(TINY), "--out", str(folder), "--steps", "500"]
    process = subprocess.Popen([*COMMAND, *flags], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + ONE_PASS
    while len(read_metrics(folder / "metrics.jsonl")) < step:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


def test_sigterm_saves_and_exits_143(tmp_path):
    folder = tmp_path / "run"
    process = run_until_step(folder, 1)
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=ONE_PASS)
    assert process.returncode == 143
    done = read_checkpoint(folder / "last.pt")["step"]
    last = text.splitlines()[-1]
    assert last == f"error: stopped at step {done} and saved; continue with: dprd train --resume {folder}"
    assert "Traceback" not in text
