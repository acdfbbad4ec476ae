"""How long a run will take and how much disk, told once, after its first steps."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from dprd_cli.config.schema import Config
from dprd_cli.training.learner import Learner

_FIRST, _COUNTED = 10, 7  # steps until it is told; the last so many of them count
_LEAST_LEFT = 20  # steps that must be left for it to be worth a line
_EVALUATION = 1 / 3  # time of an image that is evaluated, in that of one that is trained on
_DAY, _HOUR = 86400.0, 3600.0


class PaceForecast:
    """Times the first steps of a run, and says once what the rest will take.

    Args:
        config: The run's.
        folder: Its folder.
        learner: What is saved: its weights, twice with the optimizer's state and once without.
        val_images: Images of the evaluation split.
    """

    def __init__(self, config: Config, folder: Path, learner: Learner, val_images: int) -> None:
        self._config, self._folder, self._learner, self._val_images = config, folder, learner, val_images
        self._seconds: list[float] = []

    def add(self, seconds: float, step: int) -> list[str]:
        """Take the time of a step; return the lines to tell: none but after the first steps.

        Args:
            seconds: How long it took.
            step: Steps done, with this one.
        """
        left = self._config.train.steps - step
        self._seconds.append(seconds)
        if len(self._seconds) != _FIRST or left < _LEAST_LEFT:
            return []
        pace = statistics.median(self._seconds[-_COUNTED:])
        return forecast_lines(
            self._config, self._folder, pace, step, val_images=self._val_images, disk=self._disk()
        )

    def _disk(self) -> int:
        """Return the bytes of the run's checkpoints."""
        train, detector = self._config.train, self._learner.detector
        weights = sum(tensor.nbytes for tensor in detector.state_dict().values())
        trained = sum(p.numel() * 4 for p in detector.parameters() if p.requires_grad)
        moments = trained * (2 if train.optimizer == "adamw" else 1)
        return int(3 * weights + 2 * (moments + (weights if train.ema else 0)))


def forecast_lines(
    config: Config, folder: Path, pace: float, step: int, *, val_images: int, disk: int
) -> list[str]:
    """Return what a run will take, in a line; another if that is more than a day or than the disk has.

    Args:
        config: The run's.
        folder: Its folder.
        pace: Seconds of a step.
        step: Steps done.
        val_images: Images of the evaluation split.
        disk: Bytes of its checkpoints.
    """
    train = config.train
    left = train.steps - step
    evaluations = -(-left // train.eval_every) if train.eval_every else 1
    images = min(train.eval_limit or val_images, val_images) * (evaluations - 1) + val_images
    seconds = left * pace + images * pace / train.batch_size * _EVALUATION
    counted = "1 evaluation" if evaluations == 1 else f"{evaluations} evaluations"
    lines = [
        f"about {in_words(seconds)} for {left} more steps of {pace:.2f} s and {counted}; "
        f"{disk / 1e9:.2g} GB of checkpoints in {folder}"
    ]
    if seconds > _DAY:
        hour = max(1, int(_HOUR / seconds * left))
        lines.append(
            f"more than a day on this machine; an hour is about {hour} steps (--steps {hour}); a smaller "
            "--image-size, --backbone or --preset makes each step shorter"
        )
    free = shutil.disk_usage(folder).free
    if free < disk:
        lines.append(
            f"{folder}: only {free / 1e9:.2g} GB are free; make room, or the run ends when it is full"
        )
    return lines


def in_words(seconds: float) -> str:
    """Return a time as one would say it: `40 s`, `36 min`, `4.9 h`, `3.1 days`."""
    for unit, size, digits in (("days", _DAY, 1), ("h", _HOUR, 1), ("min", 60.0, 0)):
        if seconds > 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
