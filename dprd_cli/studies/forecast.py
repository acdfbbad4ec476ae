"""What is left of a study, and the time that its trainings still need."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dprd_cli.benchmark.costs import count_costs
from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset
from dprd_cli.runtime.progress import counted
from dprd_cli.studies.costs import classes_of, image_size
from dprd_cli.studies.folders import finished_like, state_of
from dprd_cli.studies.plan import Job, StudyPlan
from dprd_cli.studies.step_time import time_step
from dprd_cli.training.metrics_log import read_metrics


@dataclass(frozen=True, slots=True)
class VariantForecast:
    """What is left of one variant.

    Attributes:
        variant: Its key.
        label: Its label.
        done: Seeds with results.
        left: Seed -> steps still to train.
        parameters: Parameters, in millions.
        macs: Multiply-accumulates of one image's inference, in billions.
        pace: Seconds of a training step: the median of the variant's runs, or where there is none, of a step
            that was timed now; None where nothing is left, or a step does not fit into memory.
        measured: Whether the pace is that of runs.
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
        """Training time left; None where it is not known how long a step takes."""
        if not self.left:
            return 0.0
        return None if self.pace is None else self.pace * sum(self.left.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class StudyForecast:
    """What is left of a study.

    Attributes:
        plan: The study's runs.
        variants: What is left of each variant that is trained.
    """

    plan: StudyPlan
    variants: tuple[VariantForecast, ...]

    @property
    def image_size(self) -> tuple[int, int]:
        """The (height, width) that MACs are of."""
        return image_size(self.plan.config)

    @property
    def steps(self) -> int:
        """Steps left of all variants."""
        return sum(sum(one.left.values()) for one in self.variants)

    @property
    def seconds(self) -> float | None:
        """Training time left of all variants; None where it is not known of one."""
        times = [one.seconds for one in self.variants]
        known = [time for time in times if time is not None]
        return sum(known) if len(known) == len(times) else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "study": self.plan.study.name,
            "image_size": list(self.image_size),
            "rows": [one.to_json() for one in self.variants],
        }


def forecast(plan: StudyPlan) -> StudyForecast:
    """Return what is left of each variant that is trained, timing a step of those that have no run.

    Nothing is written.

    Raises:
        UserError: If a folder holds another run, or the data cannot be used.
    """
    num_classes = classes_of(plan.config)
    trained = {
        key: jobs for key, jobs in plan.by_variant().items() if jobs[0].variant.part_offsets == "learned"
    }
    costs = {
        key: count_costs(jobs[0].config, num_classes, image_size(jobs[0].config))
        for key, jobs in trained.items()
    }
    own = {key: pace for key, jobs in trained.items() if (pace := _pace(jobs)) is not None}
    variants = []
    for key, jobs in counted(trained.items(), "time a step", len(trained), "variants"):
        left = {job.seed: steps for job in jobs if (steps := _steps_left(job, plan.runs))}
        variants.append(
            VariantForecast(
                variant=key,
                label=jobs[0].variant.label,
                done=tuple(job.seed for job in jobs if job.seed not in left),
                left=left,
                parameters=costs[key].parameters,
                macs=costs[key].macs,
                pace=own.get(key) or (_timed(jobs[0].config) if left else None),
                measured=key in own,
            )
        )
    return StudyForecast(plan, tuple(variants))


def _timed(config: Config) -> float | None:
    return time_step(config, build_dataset(config.data, "train"))


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
