"""What is written down and told when a loss is no longer finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from dprd_cli.config.schema import Config
from dprd_cli.errors import DivergedError
from dprd_cli.files.atomic import write_json


class DivergedState(NamedTuple):
    """Where a run was when it diverged.

    Args:
        step: Steps done.
        rate: Learning rate of the one that failed.
        values: Its losses and gradient norms, or what else was not finite or far too large.
        image_ids: Its images.
    """

    step: int
    rate: float
    values: dict[str, float]
    image_ids: list[int]


def divergence(config: Config, run_dir: Path, state: DivergedState, *, write: bool) -> DivergedError:
    """Write `diverged.json`, and return the error that says what happened and what helps.

    Args:
        config: The run's.
        run_dir: Its folder.
        state: What happened.
        write: Write the file.
    """
    values, base = state.values, config.train.lr
    bad = [key for key, value in values.items() if not math.isfinite(value)] or list(values)
    advice = f"lower the learning rate (--set train.lr={base / 2:g}) or clip (--set train.clip_norm=5)"
    if state.step and (run_dir / "last.pt").exists():
        advice += f"; dprd train --resume {run_dir} with it goes on from the last checkpoint"
    path = run_dir / "diverged.json"
    if write:
        content = {
            "step": state.step,
            "lr": state.rate,
            "not_finite": bad,
            "values": {key: value if key not in bad else str(value) for key, value in values.items()},
            "image_ids": state.image_ids,
            "advice": advice,
        }
        write_json(path, content)
    return DivergedError(
        f"step {state.step}: not finite, or exploded: {', '.join(bad[:3])}; {advice}; details in {path}"
    )
