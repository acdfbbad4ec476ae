"""The line that a run says when many of its parts have fallen back."""

import pytest

from dprd_cli.training.fallback_watch import FallbackWatch
from dprd_cli.training.loop import train
from training_runs import tiny


def test_many_fallbacks_are_said_once(capsys):
    watch = FallbackWatch(tiny("train.part_lr_mult=1.5"))
    for row in ({"loss": 1.0}, {"part_fallback": None}, {"part_fallback": 0.2}):
        watch.add(row)
    assert capsys.readouterr().err == ""
    watch.add({"part_fallback": 0.31})
    line = capsys.readouterr().err.strip()
    assert line.startswith("warning: 31% of the parts have left their reference")
    assert line.endswith("lower train.part_lr_mult (1.5)")
    watch.add({"part_fallback": 0.9})
    watch.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "setting", ["parts.sigma=1.0", "parts.straight_through=true", "parts.mode=fixed", "parts.mode=placed"]
)
def test_where_it_is_meant_so_nothing_is_said(setting, capsys):
    FallbackWatch(tiny(f"model.{setting}")).add({"part_fallback": 0.9})
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("one_thread")
def test_a_run_says_it(tmp_path, capsys):
    settings = ("train.part_lr_mult=1000.0", "train.warmup_steps=0", "train.log_every=1")
    train(tiny(*settings), tmp_path)
    assert capsys.readouterr().err.count("of the parts have left their reference") == 1
