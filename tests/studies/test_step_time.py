import pytest
import torch

from dprd_cli.data.build import build_dataset
from dprd_cli.studies import step_time as module
from dprd_cli.studies.step_time import time_step
from training_runs import tiny


@pytest.fixture
def steps(monkeypatch):
    """Let steps take no time but what a clock says, and note how many images they had."""
    seen, clock = [], iter(range(100))

    class Learner:
        def __init__(self, detector, train, **more):
            assert (train.batch_size, train.accumulate) == (2, 1)

        def step(self, step, rate, images, targets):
            seen.append((step, rate, len(images)))

    monkeypatch.setattr(module, "Learner", Learner)
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(clock)))
    return seen


def test_a_step_of_more_images_takes_so_much_longer(steps):
    config = tiny("train.batch_size=6", "train.accumulate=3")
    # each step of two images takes a second
    assert time_step(config, build_dataset(config.data, "train")) == 3.0
    assert steps == [(0, 0.0, 2), (1, 0.0, 2), (2, 0.0, 2)]


def test_a_real_step_takes_time_and_leaves_the_random_state_alone():
    config, before = tiny(), torch.get_rng_state()
    assert time_step(config, build_dataset(config.data, "train")) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_what_does_not_fit_has_no_time(steps, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "build_detector", full)
    config = tiny()
    assert time_step(config, build_dataset(config.data, "train")) is None
