"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from dprd_cli.config.schema import TrainConfig

_WARMUP_START = 1e-3  # Detectron2's: warm-up begins at lr / 1000


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step.

    Linear warm-up from lr/1000 multiplies the decay, as in Detectron2.

    Args:
        config: Steps, lr, warm-up, decay and milestones.
        step: 0 .. steps-1.
    """
    return config.lr * _warmup(config, step) * _decay(config, step)


def _warmup(config: TrainConfig, step: int) -> float:
    if step >= config.warmup_steps:
        return 1.0
    share = step / config.warmup_steps
    return _WARMUP_START * (1 - share) + share


def _decay(config: TrainConfig, step: int) -> float:
    if config.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0)))
    passed = sum(step >= round(milestone * config.steps) for milestone in config.milestones)
    return 0.1**passed
