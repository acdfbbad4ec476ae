"""The line that a run says when many of its parts have fallen back."""

import pytest

from dprd_cli.training.fallback_watch import FallbackWatch
from dprd_cli.training.loop import train
from training_runs import tiny


@pytest.fixture
def said(caplog):
    """Return a function that gives the lines that were said since it was called last."""
    caplog.set_level("INFO", logger="dprd_cli")

    def lines():
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [line for line in found if "of the parts have left" in line]

    return lines


def test_many_fallbacks_are_said_once(said):
    watch = FallbackWatch(tiny("train.part_lr_mult=1.5"))
    for row in ({"loss": 1.0}, {"part_fallback": None}, {"part_fallback": 0.2}):
        watch.add(row)
    assert said() == []
    watch.add({"part_fallback": 0.31})
    (line,) = said()
    assert line.startswith("warning: 31% of the parts have left their reference")
    assert line.endswith("lower train.part_lr_mult (1.5)")
    watch.add({"part_fallback": 0.9})
    watch.close()
    assert said() == []


@pytest.mark.parametrize(
    "setting", ["parts.sigma=1.0", "parts.straight_through=true", "parts.mode=fixed", "parts.mode=placed"]
)
def test_where_it_is_meant_so_nothing_is_said(setting, said):
    FallbackWatch(tiny(f"model.{setting}")).add({"part_fallback": 0.9})
    assert said() == []


@pytest.mark.usefixtures("one_thread")
def test_a_run_says_it(tmp_path, said):
    settings = ("train.part_lr_mult=1000.0", "train.warmup_steps=0", "train.log_every=1")
    train(tiny(*settings), tmp_path)
    assert len(said()) == 1
