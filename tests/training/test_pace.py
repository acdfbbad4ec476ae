import shutil
from types import SimpleNamespace

import torch
from torch import nn

from dprd_cli.training.pace import PaceForecast, forecast_lines
from training_runs import tiny


def lines(tmp_path, *overrides, seconds=1.0, step=0, val_images=30, disk=5_000_000):
    config = tiny(*overrides)
    return forecast_lines(config, tmp_path, seconds, step, val_images=val_images, disk=disk)


def test_time_and_disk_in_a_line(tmp_path):
    (line,) = lines(tmp_path, "train.steps=600", "train.eval_every=100", "train.batch_size=2")
    # 600 s; six evaluations of 30 images, each a third of half a second
    assert (
        line == "about 10 min for 600 more steps of 1.00 s and 6 evaluations; "
        f"0.005 GB of checkpoints in {tmp_path}"
    )
    (line,) = lines(tmp_path, "train.steps=600", "train.eval_every=0", step=100)
    assert line.startswith("about 8 min for 500 more steps of 1.00 s and 1 evaluation;")
    limited = lines(
        tmp_path, "train.steps=600", "train.eval_every=100", "train.eval_limit=2", val_images=6000
    )
    # 600 s and (5 x 2 + 6000) images / 6
    assert limited[0].startswith("about 27 min")


def test_more_than_a_day_says_what_an_hour_is(tmp_path):
    _, advice = lines(tmp_path, "train.steps=90000", "train.eval_every=0", seconds=10, val_images=0)
    assert advice.startswith("more than a day on this machine; an hour is about 360 steps (--steps 360)")
    assert len(lines(tmp_path, "train.steps=8000", "train.eval_every=0", seconds=10)) == 1


def test_a_disk_that_will_be_full_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert "only 0.001 GB are free" in lines(tmp_path, "train.steps=50")[-1]


def test_it_is_told_once_after_the_first_steps(tmp_path):
    detector = nn.Linear(10, 4, bias=False)
    learner = SimpleNamespace(detector=detector)
    forecast = PaceForecast(tiny("train.steps=100"), tmp_path, learner, 4)
    told = [forecast.add(2.0 if step > 3 else 60.0, step) for step in range(1, 101)]
    assert [step for step, one in enumerate(told, start=1) if one] == [10]
    # 40 numbers of 4 bytes: three times the weights, two times AdamW's two moments
    assert "90 more steps of 2.00 s" in told[9][0]
    assert "1.1e-06 GB" in told[9][0]
    short = PaceForecast(tiny("train.steps=29"), tmp_path, learner, 4)
    assert [short.add(1.0, step) for step in range(1, 30)] == [[]] * 29
    assert detector.weight.dtype == torch.float32


def test_it_is_told_again_where_the_latest_steps_say_something_else(tmp_path):
    learner = SimpleNamespace(detector=nn.Linear(1, 1))

    def told(later):
        forecast = PaceForecast(tiny("train.steps=890"), tmp_path, learner, 4)
        steps = [forecast.add(2.0 if step <= 30 else later, step) for step in range(1, 891)]
        return [(step, *one) for step, one in enumerate(steps, start=1) if one]

    first, second = told(later=2.6)
    assert (first[0], second[0]) == (10, 50)
    assert second[1].startswith("now about 36 min for 840 more steps of 2.60 s and ")
    assert [step for step, *_ in told(later=2.1)] == [10]  # 5 % more
