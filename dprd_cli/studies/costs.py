"""What a study's variants cost: Table 2's columns, and the time that its trainings still need."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dprd_cli.benchmark.costs import count_costs, measure_inference
from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset
from dprd_cli.files.atomic import read_json, write_json
from dprd_cli.runtime.device import pick_device
from dprd_cli.studies.plan import Job, finished_like, state_of
from dprd_cli.studies.study import COSTS
from dprd_cli.training.logging import read_metrics, say

COSTS_FILE = "costs.json"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left of one variant.

    Attributes:
        variant: Its key.
        label: Its label.
        done: Seeds with results.
        left: Seed -> steps still to train.
        parameters: In millions.
        macs: Multiply-accumulates of one image's inference, in billions.
        pace: Seconds of a training step: the median of the variant's own runs, or of another's, scaled by
            MACs; None before any run.
        measured: Whether the pace is its own.
    """

    variant: str
    label: str
    done: tuple[int, ...]
    left: Mapping[int, int]
    parameters: float
    macs: float
    pace: float | None
    measured: bool

    @property
    def seconds(self) -> float | None:
        """Training time left; None where no run says how long a step takes."""
        return None if self.pace is None else self.pace * sum(self.left.values())


def image_size(config: Config) -> tuple[int, int]:
    """Return the (height, width) that costs are of: a square of the short side at test."""
    return config.data.test_min_size, config.data.test_min_size


def classes_of(config: Config) -> int:
    """Return K of a run's data.

    Raises:
        DataError: If the data cannot be used.
    """
    return len(build_dataset(config.data, "val").class_names)


def forecast(jobs: Sequence[Job], runs: Path, num_classes: int) -> list[Forecast]:
    """Return what is left of each variant that is trained; nothing is trained or written.

    Args:
        jobs: From `plan`.
        runs: Folder of all studies: a finished run there with a job's configuration serves it too.
        num_classes: K.

    Raises:
        UserError: If a folder holds another run.
    """
    by_variant = {
        key: own for key, own in _by_variant(jobs).items() if own[0].variant.part_offsets == "learned"
    }
    costs = {
        key: count_costs(own[0].config, num_classes, image_size(own[0].config))
        for key, own in by_variant.items()
    }
    paces = {key: pace for key, own in by_variant.items() if (pace := _pace(own)) is not None}
    found = []
    for key, own in by_variant.items():
        nearest = min(paces, key=lambda other: abs(costs[other]["macs"] - costs[key]["macs"]), default=None)
        scaled = None if nearest is None else paces[nearest] * costs[key]["macs"] / costs[nearest]["macs"]
        left = {job.seed: steps for job in own if (steps := _steps_left(job, runs))}
        found.append(
            Forecast(
                variant=key,
                label=own[0].variant.label,
                done=tuple(job.seed for job in own if job.seed not in left),
                left=left,
                parameters=costs[key]["parameters"],
                macs=costs[key]["macs"],
                pace=paces.get(key, scaled),
                measured=key in paces,
            )
        )
    return found


def read_costs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what `measure_costs` wrote into a study's folder; nothing if it did not.

    Raises:
        DataError: If the file is broken.
    """
    path = folder / COSTS_FILE
    return dict(read_json(path, "costs")) if path.is_file() else {}


def cost_columns(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the numbers of `read_costs` or `measure_costs` alone, without what they are of."""
    return {
        key: {name: float(entry[name]) for name in COSTS if name in entry} for key, entry in found.items()
    }


def measure_costs(
    jobs: Sequence[Job], folder: Path, num_classes: int, *, anew: bool = False
) -> dict[str, dict[str, Any]]:
    """Measure each variant's inference on this device, and write `costs.json` after each.

    What was measured before is kept if it is of the same network (by its counts), image size and device.

    Args:
        jobs: From `plan`.
        folder: The study's.
        num_classes: K.
        anew: Measure all of them again.

    Returns:
        Variant -> `parameters` (M), `macs` (G), `memory` (MiB), `fps`, and what they are of.
    """
    known = read_costs(folder)
    found: dict[str, dict[str, Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for key, own in _by_variant(jobs).items():
        config = own[0].config
        size = image_size(config)
        described = {
            **count_costs(config, num_classes, size),
            "image_size": list(size),
            "num_classes": num_classes,
            "device": _device_name(config.train.device),
        }
        before = known.get(key, {})
        if anew or any(before.get(name) != value for name, value in described.items()):
            say(f"measuring {key}: one image of {size[0]}x{size[1]} on {described['device']}")
            before = {**described, **measure_inference(config, num_classes, size, config.train.device)}
        found[key] = before
        write_json(folder / COSTS_FILE, {**known, **found})
    return found


def _by_variant(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.variant.key, []).append(job)
    return found


def _device_name(device: str) -> str:
    place = pick_device(device)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"


def _steps_left(job: Job, runs: Path) -> int:
    state, steps = state_of(job), job.config.train.steps
    if state == "done" or (state == "absent" and finished_like(job, runs)):
        return 0
    rows = read_metrics(job.folder / "metrics.jsonl")
    return max(steps - max((row["step"] for row in rows), default=0), 1)  # at least its evaluation


def _pace(jobs: Sequence[Job]) -> float | None:
    """Return the median seconds of a step over a variant's runs."""
    seconds = [
        row["seconds_per_step"]
        for job in jobs
        for row in read_metrics(job.folder / "metrics.jsonl")
        if row.get("seconds_per_step")
    ]
    return statistics.median(seconds) if seconds else None
