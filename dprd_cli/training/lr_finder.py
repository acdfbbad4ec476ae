"""The learning-rate range test: what rates a detector learns at, before it is trained.

The rate rises exponentially from far too small to far too large, a step at each. Where the loss falls, the
rate is right; from where it rises, too large.

Source: Smith 2017, "Cyclical learning rates for training neural networks".
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dprd_cli.config.schema import Config
from dprd_cli.data.loading import TrainLoader
from dprd_cli.files.atomic import write_atomically, write_json
from dprd_cli.runtime.progress import say
from dprd_cli.training.learner import Learner, NotFiniteError
from dprd_cli.training.memory import memory_advice
from dprd_cli.training.setup import set_up

STEPS = 100
_RANGE = (1e-3, 1e2)  # of the configured rate
_SMOOTHING = 0.9  # of the loss, an exponential moving average
_DIVERGED = 4.0  # times the lowest smoothed loss
_SAFETY = 10.0  # below the rate of the lowest loss
_FIRST = 5  # steps before a lowest loss counts


class RatePoint(NamedTuple):
    """A step of the test.

    Args:
        step: From 0.
        lr: Learning rate.
        loss: Loss of the step's batch.
        smoothed: Moving average of the losses so far, without bias to its start.
    """

    step: int
    lr: float
    loss: float
    smoothed: float


@dataclass(frozen=True, slots=True)
class LearningRateTest:
    """What the test says; rates are None where the loss did not fall.

    Attributes:
        suggestion: A tenth of `lowest`.
        lowest: Rate of the lowest smoothed loss.
        steepest: Rate at which the smoothed loss fell fastest.
        stopped: Why the test ended.
        batch_size: Images a step: the suggestion is for it.
        optimizer: The suggestion is for it.
    """

    suggestion: float | None
    lowest: float | None
    steepest: float | None
    stopped: str
    batch_size: int
    optimizer: str


def find_lr(config: Config, folder: Path, steps: int = STEPS) -> LearningRateTest:
    """Run the test on the training split, and write `lr_finder.csv`, `.json` and `.png`; nothing to resume.

    Args:
        config: The run that a rate is wanted for; warm-up and decay are not used.
        folder: Where the files go.
        steps: Steps of the whole range; the test ends sooner where the loss diverges.

    Raises:
        UserError: On data or weights that cannot be used, or too little memory.
    """
    from dprd_cli.drawing.curves import plot_lr_range

    with memory_advice(config, folder):
        points, stopped = _ramp(config, steps)
    found = judge(points, stopped, config.train.batch_size, config.train.optimizer)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([RatePoint._fields, *points])
    write_atomically(folder / "lr_finder.csv", lambda file: file.write(text.getvalue().encode()))
    write_json(folder / "lr_finder.json", {**asdict(found), "configured": config.train.lr})
    plot_lr_range(
        [point._asdict() for point in points],
        {"suggestion": found.suggestion, "fastest fall": found.steepest, "lowest": found.lowest},
        folder / "lr_finder.png",
    )
    return found


def _ramp(config: Config, steps: int) -> tuple[list[RatePoint], str]:
    """Do the steps; return them, and why they ended."""
    setup = set_up(config)
    learner = Learner(setup.detector, config.train, precision=setup.precision)
    train = config.train
    loader = TrainLoader(
        setup.train_set, config.data, batch_size=train.batch_size, seed=train.seed, steps=steps
    )
    points: list[RatePoint] = []
    for step, ((images, targets), rate) in enumerate(zip(loader, rates(train.lr, steps), strict=True)):
        try:
            values = learner.step(step, rate, images, targets)
        except NotFiniteError:
            return points, f"the loss was no longer finite at {rate:.2e}"
        points.append(follow(points, rate, float(values["loss"])))
        if step % 10 == 0:
            say(f"step {step}/{steps}  lr {rate:.2e}  loss {points[-1].loss:.3f}")
        if diverged(points):
            return points, f"the loss had risen to {_DIVERGED:g} times its lowest at {rate:.2e}"
    return points, "end of the range"


def rates(base: float, steps: int) -> list[float]:
    """Return the rates, evenly spaced in the logarithm, from base/1000 to 100 base."""
    low, high = (base * factor for factor in _RANGE)
    return [low * (high / low) ** (step / max(steps - 1, 1)) for step in range(steps)]


def follow(points: Sequence[RatePoint], rate: float, loss: float) -> RatePoint:
    """Return the next point; the average's weights are normalised, so that it starts at the first loss."""
    count = len(points) + 1
    before = points[-1].smoothed * (1 - _SMOOTHING ** (count - 1)) if points else 0.0
    smoothed = (_SMOOTHING * before + (1 - _SMOOTHING) * loss) / (1 - _SMOOTHING**count)
    return RatePoint(count - 1, rate, loss, smoothed)


def diverged(points: Sequence[RatePoint]) -> bool:
    """Whether the smoothed loss has risen far above its lowest."""
    last = points[-1].smoothed
    return not math.isfinite(last) or last > _DIVERGED * min(point.smoothed for point in points)


def judge(points: Sequence[RatePoint], stopped: str, batch_size: int, optimizer: str) -> LearningRateTest:
    """Return what a test says."""
    losses = np.array([point.smoothed for point in points])
    lowest = int(losses[_FIRST:].argmin()) + _FIRST if len(losses) > _FIRST else 0
    if lowest <= _FIRST or losses[lowest] >= losses[0]:
        return LearningRateTest(None, None, None, stopped, batch_size, optimizer)
    slopes = np.gradient(losses[: lowest + 1], np.log([point.lr for point in points[: lowest + 1]]))
    best, steepest = points[lowest].lr, points[int(slopes.argmin())].lr
    return LearningRateTest(best / _SAFETY, best, steepest, stopped, batch_size, optimizer)
