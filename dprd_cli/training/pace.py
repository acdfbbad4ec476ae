"""How long a run will take and how much disk: told after its first steps, and again where that was wrong."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from dprd_cli.config.schema import Config
from dprd_cli.runtime.progress import in_words
from dprd_cli.training.learner import Learner

_FIRST, _COUNTED = 10, 7  # steps until it is told; the last so many of them count
# steps until it is told again, if the last so many differ by this share: on photographs the proposals fill
# all RoIs only then, and a step takes up to 40 % longer
_AGAIN, _COUNTED_AGAIN, _DIFFERS = 50, 15, 0.1
_LEAST_LEFT = 20  # steps that must be left for it to be worth a line
_EVALUATION = 1 / 3  # time of an image that is evaluated, in that of one that is trained on
_DAY, _HOUR = 86400.0, 3600.0


class PaceForecast:
    """Times the first steps of a run, and says what the rest will take.

    Args:
        config: The run's.
        folder: Its folder.
        learner: What is saved: its weights, twice with the optimizer's state and once without.
        val_images: Images of the evaluation split.
    """

    def __init__(self, config: Config, folder: Path, learner: Learner, val_images: int) -> None:
        self._config, self._folder, self._learner, self._val_images = config, folder, learner, val_images
        self._seconds: list[float] = []
        self._told: float | None = None

    def add(self, seconds: float, step: int) -> list[str]:
        """Take the time of a step; return the lines to tell: none but after ten steps and after fifty.

        Args:
            seconds: How long it took.
            step: Steps done, with this one.
        """
        left, seen = self._config.train.steps - step, len(self._seconds) + 1
        if seen > _AGAIN:
            return []
        self._seconds.append(seconds)
        if seen not in (_FIRST, _AGAIN) or left < _LEAST_LEFT:
            return []
        again = self._told is not None
        pace = statistics.median(self._seconds[-(_COUNTED_AGAIN if again else _COUNTED) :])
        if self._told is not None and abs(pace / self._told - 1) <= _DIFFERS:
            return []
        self._told = pace
        lines = forecast_lines(
            self._config, self._folder, pace, step, val_images=self._val_images, disk=self._disk()
        )
        return [f"now {lines[0]}", *lines[1:]] if again else lines

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
