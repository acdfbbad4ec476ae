"""What a training gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.evaluation.evaluate import Evaluation


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A run that has ended.

    Args:
        folder: The run folder.
        step: Optimiser steps done.
        data: The split that was evaluated on.
        evaluation: The last one, of the whole split.
    """

    folder: Path
    step: int
    data: str
    evaluation: Evaluation

    @property
    def last(self) -> Path:
        """The checkpoint of the last step, which the evaluation is of."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path | None:
        """The checkpoint of the best evaluation by `train.best_metric`; None where none was measured."""
        path = self.folder / "best.pt"
        return path if path.is_file() else None

    def to_json(self) -> dict[str, Any]:
        """Return what `results.json` holds."""
        return {
            "checkpoint": self.last.name,
            "step": self.step,
            "data": self.data,
            **self.evaluation.to_json(),
        }
