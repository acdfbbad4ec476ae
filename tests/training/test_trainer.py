"""What befalls a run between its steps: it stops, is resumed, is asked to leave, or diverges."""

import json
import os
import signal

import pytest

from dprd_cli.errors import DivergedError, InterruptedRun
from dprd_cli.evaluation import evaluate
from dprd_cli.evaluation.threshold import BestThreshold, ScoreThresholds
from dprd_cli.model.build import build_detector
from dprd_cli.training import setup
from dprd_cli.training.loop import train
from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.training.trainer import Trainer
from dprd_cli.weights.checkpoint import read_checkpoint
from dprd_cli.weights.load import load_model
from training_runs import losses, same_state, tiny

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_places_that_are_drawn_are_drawn_again_after_a_stop(tmp_path, monkeypatch):
    settings = ("model.parts.mode=placed", "data.path=signpost", "model.parts.places.draw=0.5")
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tiny(*settings), tmp_path / "straight")
    usual = Trainer.train_step

    def stops_at_2(self, images, targets):
        if self.step == 2:
            raise StopError
        usual(self, images, targets)

    monkeypatch.setattr(Trainer, "train_step", stops_at_2)
    with pytest.raises(StopError):
        train(tiny(*settings), tmp_path / "stopped")
    monkeypatch.undo()
    train(tiny(*settings), tmp_path / "stopped", resume=True)
    same_state(tmp_path / "straight" / "last.pt", tmp_path / "stopped" / "last.pt")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "straight")


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
    assert (tmp_path / "loss.png").is_file()  # whatever ends a run, its curves are there
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


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path, monkeypatch):
    def poisoned(config, **kwargs):
        detector = build_detector(config, **kwargs)
        usual = detector.forward

        def forward(images, targets, progress):
            output = usual(images, targets, progress)
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


def test_checkpoints_hold_the_threshold_of_their_evaluation(tmp_path, monkeypatch):
    scores = iter((0.3, 0.6))

    def thresholds(_):
        return ScoreThresholds(BestThreshold(next(scores), 1.0, 1.0, 1.0), {})

    monkeypatch.setattr(evaluate, "score_thresholds", thresholds)
    train(tiny("train.steps=2", "train.eval_every=1"), tmp_path)
    # nothing learns in two steps: the first evaluation stays the best
    assert read_checkpoint(tmp_path / "best.pt")["score_thresh"] == 0.3
    assert load_model(str(tmp_path / "last.pt"), "cpu").shown_from == 0.6
