import json

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import DataError, DivergedError, UsageError, UserError
from dprd_cli.runtime.signals import StopRequest
from dprd_cli.training.metrics_log import SilentLog
from dprd_cli.training.setup import set_up
from dprd_cli.training.trainer import Trainer
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import TINY


def trainer(folder, *overrides):
    config = resolve(config_file=TINY, overrides=["model.backbone.weights=none", *overrides])
    return Trainer(config, folder, set_up(config), log=SilentLog(), stop=StopRequest())


def test_what_is_saved_is_taken_up(tmp_path):
    first = trainer(tmp_path)
    first.step, first.best = 3, 12.5
    first.interval.add({"loss": 1.0})
    first.save()
    second = trainer(tmp_path, "train.seed=5")
    second.restore(read_checkpoint(tmp_path / "last.pt"))
    assert (second.step, second.best) == (3, 12.5)
    assert second.interval.take() == {"loss": 1.0}


class OneEvaluation(SilentLog):
    """A log whose last row is an evaluation."""

    def evaluations(self):
        return [{"kind": "eval", "step": 3, "bbox_AP": 1.0, "score_thresh": 0.25}]


def test_what_was_evaluated_after_the_checkpoint_is_taken_up(tmp_path):
    first = trainer(tmp_path)
    first.save()
    second = trainer(tmp_path)
    second.log = OneEvaluation()
    second.restore(read_checkpoint(tmp_path / "last.pt"))
    assert (second.score_thresh, second.best) == (0.25, 1.0)


def test_what_does_not_fit_is_named(tmp_path):
    first = trainer(tmp_path)
    first.step = 3
    first.save()
    saved = read_checkpoint(tmp_path / "last.pt")
    with pytest.raises(UsageError, match=r"train\.steps=2: .* has done 3 steps"):
        trainer(tmp_path, "train.steps=2").restore(saved)
    with pytest.raises(UserError, match=r"leave out train\.optimizer=sgd \(it was adamw\)"):
        trainer(tmp_path, "train.optimizer=sgd").restore(saved)
    with pytest.raises(DataError, match="not the images that"):
        trainer(tmp_path).restore({**saved, "data": {"train": "other", "val": ""}})
    trainer(tmp_path).restore({key: value for key, value in saved.items() if key != "data"})  # older ones


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e7])
def test_weights_that_have_exploded_are_not_saved(tmp_path, value):
    first = trainer(tmp_path)
    first.save()
    before = (tmp_path / "last.pt").read_bytes()
    with torch.no_grad():
        next(first.learner.detector.parameters()).fill_(value)
    with pytest.raises(DivergedError, match="largest weight"):
        first.save()
    assert (tmp_path / "last.pt").read_bytes() == before
    assert "advice" in json.loads((tmp_path / "diverged.json").read_text())
