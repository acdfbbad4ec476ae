"""Experiment trackers: TensorBoard and Weights & Biases, where they are installed and asked for."""

from __future__ import annotations

import importlib.util
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dprd_cli.config.schema import Config
from dprd_cli.errors import DprdWarning, UsageError
from dprd_cli.files.atomic import write_atomically

Row = Mapping[str, Any]
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


class RowWatcher(Protocol):
    """What sees each row of the metrics file."""

    def add(self, row: Row) -> None:
        """Take a row."""
        ...

    def close(self) -> None:
        """Send what waits."""
        ...


class Tracker:
    """Hands the numbers of the metrics rows to a tracker; one that fails is left, and the run goes on.

    Args:
        name: For the message.
        log: Called with (numbers by `kind/key`, step).
        close: Called at the end.
    """

    def __init__(
        self, name: str, log: Callable[[dict[str, float], int], object], close: Callable[[], object]
    ) -> None:
        self._name = name
        self._log, self._close = log, close
        self._works = True

    def add(self, row: Row) -> None:
        """Hand on a row of the metrics file."""
        numbers = {
            f"{row['kind']}/{key}": float(value)
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float)
        }
        self._try(lambda: self._log(numbers, int(row["step"])))

    def close(self) -> None:
        """Send what waits."""
        self._try(self._close)

    def _try(self, call: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            call()
        except Exception as error:  # foreign code on foreign networks: never a reason to end a run
            self._works = False
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"{self._name} failed ({reason}); going on without it", DprdWarning, stacklevel=2)


def check_trackers(names: Sequence[str]) -> None:
    """Check that what `train.loggers` names is installed.

    Raises:
        UsageError: If not.
    """
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise UsageError(f"train.loggers: {name} is not installed; pip install {_PACKAGES[name]}")


def start_trackers(config: Config, folder: Path, start_step: int) -> list[Tracker]:
    """Start what `train.loggers` names.

    Args:
        config: The run's.
        folder: The run folder; TensorBoard's events go into `tensorboard/` in it.
        start_step: Step that the run resumes from.
    """
    starts = {"tensorboard": _tensorboard, "wandb": _wandb}
    return [starts[name](config, folder, start_step) for name in config.train.loggers]


def _tensorboard(_config: Config, folder: Path, start_step: int) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    # events after the step that a run resumes from are hidden, because they come again
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step + 1)

    def log(numbers: dict[str, float], step: int) -> None:
        for key, value in numbers.items():
            writer.add_scalar(key, value, step)
        writer.flush()

    return Tracker("tensorboard", log, writer.close)


def _wandb(config: Config, folder: Path, _start_step: int) -> Tracker:
    import wandb

    path = folder / "wandb_id.txt"
    if not path.exists():
        write_atomically(path, lambda file: file.write(uuid.uuid4().hex[:12].encode()))
    run = wandb.init(
        project="dprd",
        name=folder.name,
        id=path.read_text(encoding="utf-8"),
        resume="allow",
        dir=str(folder),
        config=config.model_dump(mode="json"),
    )
    # its own step cannot go back, as it does where a run was killed: the row's step is the axis
    run.define_metric("*", step_metric="step")
    return Tracker("wandb", lambda numbers, step: run.log({**numbers, "step": step}), run.finish)
