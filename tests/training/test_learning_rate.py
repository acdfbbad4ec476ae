import math

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import TrainConfig
from dprd_cli.training.optimizer import learning_rate


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


def test_voc_is_detectron2s():
    # PascalVOC-Detection/faster_rcnn_R_50_FPN.yaml: 18,000 steps of 16, drops at 12,000 and 16,000
    config = resolve(schedule="voc", overrides=["data.path=VOCdevkit"])
    train = config.train
    assert (train.steps, train.batch_size, train.optimizer, train.warmup_steps) == (18_000, 16, "sgd", 100)
    rates = [learning_rate(train, step) for step in (100, 11_999, 12_000, 15_999, 16_000, 17_999)]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002, 0.0002])
    assert config.data.train_min_sizes == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert (config.data.test_min_size, config.data.max_size, config.data.flip) == (800, 1333, 0.5)


def test_cosine_falls_from_the_full_rate_to_zero():
    config = TrainConfig(steps=100, lr=1.0, warmup_steps=0, decay="cosine")
    assert learning_rate(config, 0) == 1.0
    assert learning_rate(config, 25) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))  # cos 45 degrees
    assert learning_rate(config, 50) == pytest.approx(0.5)
    assert learning_rate(config, 100) == pytest.approx(0.0)


def test_no_warmup_starts_at_the_full_rate():
    assert learning_rate(TrainConfig(lr=0.5, warmup_steps=0), 0) == 0.5
