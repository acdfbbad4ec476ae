"""TensorBoard and W&B, present and absent; stand-ins take the packages' place."""

import importlib.util
import sys
import types

import pytest

from dprd_cli.config import registry
from dprd_cli.config.presets import resolve
from dprd_cli.errors import DprdWarning, UsageError
from dprd_cli.training.trackers import Tracker, check_trackers, start_trackers

ROW = {"kind": "train", "step": 3, "loss": 1.5, "bbox_AP": None}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_named(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UsageError, match=rf"^train\.loggers: {name} is not installed; pip install {name}$"):
        check_trackers([name])
    check_trackers([])


def test_tensorboard_gets_every_number_and_hides_what_comes_again(monkeypatch, tmp_path):
    calls = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            calls.append((folder, purge_step))

        def add_scalar(self, *values):
            calls.append(values)

        def flush(self):
            pass

        def close(self):
            calls.append("close")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    (tracker,) = start_trackers(resolve(overrides=["train.loggers=tensorboard"]), tmp_path, 2)
    tracker.add(ROW)
    tracker.close()
    assert calls == [(str(tmp_path / "tensorboard"), 3), ("train/loss", 1.5, 3), "close"]


def test_wandb_goes_on_with_the_same_run(monkeypatch, tmp_path):
    calls, ids = [], []
    run = types.SimpleNamespace(
        define_metric=lambda *_, **how: calls.append(how),
        log=calls.append,
        finish=lambda: calls.append("finish"),
    )

    def init(**settings):
        ids.append((settings["id"], settings["resume"]))
        assert settings["config"]["train"]["loggers"] == ["wandb"]
        return run

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    config = resolve(overrides=["train.loggers=wandb"])
    for _ in range(2):
        (tracker,) = start_trackers(config, tmp_path, 0)
    tracker.add(ROW)
    tracker.close()
    assert ids[0] == ids[1]
    assert ids[0][1] == "allow"
    assert calls[-2:] == [{"train/loss": 1.5, "step": 3}, "finish"]


class Logger:
    def __init__(self, calls, fails=False):
        self.calls, self.fails = calls, fails

    def log(self, numbers, step):
        self.calls.append(step)
        if self.fails:
            raise ConnectionError("no route\nto host")

    def close(self):
        self.calls.append("close")


def test_a_tracker_that_fails_is_left_and_the_run_goes_on():
    calls = []
    tracker = Tracker("wandb", Logger(calls, fails=True))
    with pytest.warns(DprdWarning, match=r"^wandb failed \(no route to host\); going on without it$"):
        tracker.add(ROW)
    tracker.add(ROW)
    tracker.close()
    assert calls == [3]


def test_one_that_cannot_be_started_is_left_out(monkeypatch, tmp_path):
    def start(*_):
        raise PermissionError("no key\ngiven")

    monkeypatch.setitem(registry.logger, "wandb", start)
    config = resolve(overrides=["train.loggers=wandb"])
    with pytest.warns(DprdWarning, match=r"^wandb failed \(no key given\); going on without it$"):
        assert start_trackers(config, tmp_path, 0) == []


def test_images_go_to_loggers_that_take_them(tmp_path):
    calls = []
    plain, other = Logger(calls), Logger(calls)
    other.image = lambda *what: calls.append(what)
    for logger in (plain, other):
        Tracker("mine", logger).add_image("parts", tmp_path / "parts.png", 7)
    assert calls == [("parts", tmp_path / "parts.png", 7)]
