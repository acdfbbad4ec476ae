import math

import pytest

from dprd_cli.config import TrainConfig
from dprd_cli.training.schedule import learning_rate


def test_warmup_is_linear_from_a_thousandth():
    config = TrainConfig(steps=1000, lr=0.02, warmup_steps=100, milestones=())
    # lr * (0.001 * (1 - t) + t) with t = step / 100
    assert learning_rate(config, 0) == pytest.approx(0.02 * 0.001)
    assert learning_rate(config, 50) == pytest.approx(0.02 * 0.5005)
    assert learning_rate(config, 99) == pytest.approx(0.02 * (0.001 * 0.01 + 0.99))
    assert learning_rate(config, 100) == 0.02


def test_multistep_drops_tenfold_at_each_milestone():
    config = TrainConfig(steps=90_000, lr=0.02, warmup_steps=0)  # Detectron2's 1x: 60,000 and 80,000
    assert learning_rate(config, 59_999) == 0.02
    assert learning_rate(config, 60_000) == pytest.approx(0.002)
    assert learning_rate(config, 79_999) == pytest.approx(0.002)
    assert learning_rate(config, 80_000) == pytest.approx(0.0002)


def test_cosine_falls_from_the_full_rate_to_zero():
    config = TrainConfig(steps=100, lr=1.0, warmup_steps=0, decay="cosine")
    assert learning_rate(config, 0) == 1.0
    assert learning_rate(config, 25) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))  # cos 45 degrees
    assert learning_rate(config, 50) == pytest.approx(0.5)
    assert learning_rate(config, 100) == pytest.approx(0.0)


def test_no_warmup_starts_at_the_full_rate():
    assert learning_rate(TrainConfig(lr=0.5, warmup_steps=0), 0) == 0.5
