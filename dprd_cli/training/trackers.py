"""Experiment trackers beside a run's own files: TensorBoard, Weights & Biases, and those of plugins."""

from __future__ import annotations

import importlib.util
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dprd_cli.config import registry
from dprd_cli.config.schema import Config
from dprd_cli.errors import DprdWarning, UsageError
from dprd_cli.files.atomic import write_atomically

Row = Mapping[str, Any]


class MetricsLogger(Protocol):
    """Takes a run's numbers and images elsewhere; `registry.logger` has what starts one, by name.

    It is started with (configuration, run folder, step that the run resumes from). Whatever it raises ends
    itself, and never the run.
    """

    def log(self, numbers: dict[str, float], step: int) -> object:
        """Take numbers by `train/KEY` or `eval/KEY`; after a resume some steps come again."""
        ...

    def image(self, name: str, path: Path, step: int) -> object:
        """Take an image file, such as that of the parts; a logger without this method gets none."""
        ...

    def close(self) -> object:
        """Send what waits."""
        ...


class RowWatcher(Protocol):
    """What sees each row of the metrics file."""

    def add(self, row: Row) -> None:
        """Take a row."""
        ...

    def add_image(self, name: str, path: Path, step: int) -> None:
        """Take an image of the run folder."""
        ...

    def close(self) -> None:
        """Send what waits."""
        ...


class Tracker:
    """Hands the numbers of the metrics rows to a logger; one that fails is left, and the run goes on.

    Args:
        name: For the message.
        logger: Where they go.
    """

    def __init__(self, name: str, logger: MetricsLogger) -> None:
        self._name, self._logger = name, logger
        self._works = True

    def add(self, row: Row) -> None:
        """Hand on a row of the metrics file."""
        numbers = {
            f"{row['kind']}/{key}": float(value)
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float)
        }
        self._try(lambda: self._logger.log(numbers, int(row["step"])))

    def add_image(self, name: str, path: Path, step: int) -> None:
        """Hand on an image, where the logger takes any."""
        if hasattr(self._logger, "image"):
            self._try(lambda: self._logger.image(name, path, step))

    def close(self) -> None:
        """Send what waits."""
        self._try(self._logger.close)

    def _try(self, call: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            call()
        except Exception as error:  # foreign code on foreign networks: never a reason to end a run
            self._works = False
            _warn(self._name, error)


def _warn(name: str, error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    warnings.warn(f"{name} failed ({reason}); going on without it", DprdWarning, stacklevel=3)


def check_trackers(names: Sequence[str]) -> None:
    """Check that what `train.loggers` names is installed, of which each is called as its package is.

    Of plugins only they know.

    Raises:
        UsageError: If not.
    """
    for name in names:
        if name in registry.logger.built_in and importlib.util.find_spec(name) is None:
            raise UsageError(f"train.loggers: {name} is not installed; pip install {name}")


def start_trackers(config: Config, folder: Path, start_step: int) -> list[Tracker]:
    """Start what `train.loggers` names; one that cannot be started is left out, with a warning.

    Args:
        config: The run's.
        folder: The run folder; TensorBoard's events go into `tensorboard/` in it.
        start_step: Step that the run resumes from.
    """
    trackers = []
    for name in config.train.loggers:
        try:
            trackers.append(Tracker(name, registry.logger[name](config, folder, start_step)))
        except Exception as error:  # as above
            _warn(name, error)
    return trackers


class _TensorBoard:
    def __init__(self, _config: Config, folder: Path, start_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # events after the step that a run resumes from are hidden, because they come again
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step + 1)
        self.close = self._writer.close

    def log(self, numbers: dict[str, float], step: int) -> None:
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def image(self, name: str, path: Path, step: int) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")


class _Wandb:
    def __init__(self, config: Config, folder: Path, _start_step: int) -> None:
        import wandb

        path = folder / "wandb_id.txt"
        if not path.exists():
            write_atomically(path, lambda file: file.write(uuid.uuid4().hex[:12].encode()))
        self._wandb = wandb
        self._run = wandb.init(
            project="dprd",
            name=folder.name,
            id=path.read_text(encoding="utf-8"),
            resume="allow",
            dir=str(folder),
            config=config.model_dump(mode="json"),
        )
        # its own step cannot go back, as it does where a run was killed: the row's step is the axis
        self._run.define_metric("*", step_metric="step")
        self.close = self._run.finish

    def log(self, numbers: dict[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def image(self, name: str, path: Path, step: int) -> None:
        self._run.log({name: self._wandb.Image(str(path)), "step": step})


registry.logger.update(tensorboard=_TensorBoard, wandb=_Wandb)
