import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import merge, parse_overrides, read_toml, validate
from dprd_cli.errors import DataError, DivergedError, DprdWarning, InterruptedRun, UsageError, UserError
from dprd_cli.model.build import build_detector
from dprd_cli.training import setup
from dprd_cli.training.loop import train
from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.training.run_folder import new_run_folder, read_resumable
from dprd_cli.training.trainer import Trainer
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import TINY

COMMAND = [sys.executable, "-m", "dprd_cli", "train"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ONE_PASS = 60  # seconds that a subprocess may take


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(*overrides: str) -> Config:
    return resolve(config_file=TINY, overrides=overrides)


def same_state(a, b):
    one, other = read_checkpoint(a), read_checkpoint(b)
    assert one["step"] == other["step"]
    assert all(torch.equal(one["model"][key], other["model"][key]) for key in one["model"])
    moments = zip(one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True)
    for mine, theirs in moments:
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def losses(folder):
    rows = read_metrics(folder / "metrics.jsonl")
    return [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of four steps that nothing disturbs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(tiny("train.eval_every=2", "train.eval_limit=2"), folder)


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


class StopError(Exception):
    pass


@pytest.mark.parametrize("saves_every", [1, 2])
def test_a_resumed_run_ends_like_a_straight_one(straight, tmp_path, monkeypatch, saves_every):
    folder, _ = straight
    settings = ("train.eval_every=2", "train.eval_limit=2", f"train.save_every={saves_every}")
    usual = Trainer.train_step

    def stops_at_3(self, images, targets):
        if self.step == 3:
            raise StopError
        usual(self, images, targets)

    monkeypatch.setattr(Trainer, "train_step", stops_at_3)
    with pytest.raises(StopError):
        train(tiny(*settings), tmp_path)
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "last.pt")["step"] == (3 if saves_every == 1 else 2)
    train(tiny(*settings), tmp_path, resume=True)
    same_state(folder / "last.pt", tmp_path / "last.pt")
    assert losses(tmp_path) == losses(folder)  # step 3 is there once, although it was done twice


def test_a_run_stopped_in_its_evaluation_evaluates_when_resumed(straight, tmp_path, monkeypatch):
    folder, _ = straight
    settings = ("train.eval_every=2", "train.eval_limit=2")

    def killed(self, limit):
        raise StopError

    monkeypatch.setattr(Trainer, "_measure", killed)
    with pytest.raises(StopError):
        train(tiny(*settings), tmp_path)
    monkeypatch.undo()
    train(tiny(*settings), tmp_path, resume=True)
    rows = [(row["kind"], row["step"]) for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert rows == [(row["kind"], row["step"]) for row in read_metrics(folder / "metrics.jsonl")]
    same_state(folder / "last.pt", tmp_path / "last.pt")


def test_a_run_killed_before_its_first_checkpoint_starts_again(straight, tmp_path, monkeypatch):
    folder, _ = straight
    settings = ("train.eval_every=2", "train.eval_limit=2")
    monkeypatch.setattr(Trainer, "save", lambda self: (_ for _ in ()).throw(StopError))
    with pytest.raises(StopError):
        train(tiny(*settings), tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "last.pt").exists()
    train(tiny(*settings), tmp_path, resume=True)
    same_state(folder / "last.pt", tmp_path / "last.pt")


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


def test_a_torn_last_line_of_the_metrics_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 1}\n{"kind": "train", "st')
    assert read_metrics(path) == [{"kind": "train", "step": 1}]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_and_leaves(tmp_path, monkeypatch, number, code):
    usual = Trainer.train_step

    def signalled(self, images, targets):
        os.kill(os.getpid(), number)
        usual(self, images, targets)

    monkeypatch.setattr(Trainer, "train_step", signalled)
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun) as caught:
        train(tiny("train.save_every=100"), tmp_path)
    assert str(caught.value) == f"stopped at step 1 and saved; continue with: dprd train --resume {tmp_path}"
    assert caught.value.exit_code == code
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 1
    assert signal.getsignal(number) == before


def test_a_signal_during_evaluation_leaves_after_the_batch(tmp_path, monkeypatch):
    usual = Trainer._measure

    def signalled(self, limit):
        os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, limit)

    monkeypatch.setattr(Trainer, "_measure", signalled)
    with pytest.raises(InterruptedRun, match="stopped at step 1 and saved"):
        train(tiny("train.steps=1"), tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_a_second_interrupt_quits_at_once(tmp_path, monkeypatch):
    def twice(self, images, targets):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "train_step", twice)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tmp_path)


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


def test_kill_9_leaves_a_checkpoint_to_resume_from(tmp_path):
    folder = tmp_path / "run"
    process = run_until_step(folder, 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=ONE_PASS)
    assert process.returncode == -signal.SIGKILL
    done = read_resumable(folder)["step"]
    assert done >= 1
    config = validate(merge(read_toml(folder / "config.toml"), parse_overrides([f"train.steps={done + 1}"])))
    train(config, folder, resume=True)
    assert [step for step, _ in losses(folder)] == list(range(1, done + 2))


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


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path, monkeypatch):
    def poisoned(config, **kwargs):
        detector = build_detector(config, **kwargs)
        usual = detector.forward

        def forward(images, targets):
            output = usual(images, targets)
            output.losses["loss_rpn_cls"] = output.losses["loss_rpn_cls"] * float("nan")
            return output

        detector.forward = forward
        return detector

    monkeypatch.setattr(setup, "build_detector", poisoned)
    with pytest.raises(DivergedError) as caught:
        train(tiny(), tmp_path)
    assert caught.value.exit_code == 4
    advice = "lower the learning rate (--set train.lr=0.001) or clip (--set train.clip_norm=5)"
    assert str(caught.value) == (
        f"step 0: not finite, or exploded: loss_rpn_cls, grad_norm; {advice}; "
        f"details in {tmp_path}/diverged.json"
    )
    written = json.loads((tmp_path / "diverged.json").read_text())
    assert written["step"] == 0
    assert written["not_finite"] == ["loss_rpn_cls", "grad_norm"]
    assert written["lr"] == pytest.approx(2e-6)
    assert len(written["image_ids"]) == 2
    assert written["values"]["loss_rpn_cls"] == "nan"
    saved = read_checkpoint(tmp_path / "last.pt")
    assert saved["step"] == 0
    assert all(tensor.isfinite().all() for tensor in saved["model"].values())


def test_masks_follow_the_data():
    class Boxes:
        name, has_masks = "val", False

    assert setup._with_masks(tiny(), Boxes()) is False
    with pytest.raises(DataError, match=r"val: no object has a mask; leave model.heads.mask at auto"):
        setup._with_masks(tiny("model.heads.mask=true"), Boxes())
    Boxes.has_masks = True
    assert setup._with_masks(tiny(), Boxes()) is True
    assert setup._with_masks(tiny("model.heads.mask=false"), Boxes()) is False


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
