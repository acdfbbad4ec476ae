"""Whole studies in one call: trained or summed up, forecast, their costs measured, or given checkpoints.

for result in ablate(["table1"], AblateOptions(steps=500, seeds=(0, 1))):
print(result.summary.spread("all", "bbox_AP"), result.folder)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.config.presets import pick
from dprd_cli.config.schema import BUILT_IN
from dprd_cli.errors import UsageError, UserError, did_you_mean
from dprd_cli.runtime.progress import say
from dprd_cli.studies.catalog import GROUPS, STUDIES
from dprd_cli.studies.checkpoints import (
    CheckpointStudyOptions,
    StudyCheckpoint,
    check_measurable,
    measure_checkpoints,
)
from dprd_cli.studies.costs import StudyCosts, classes_of, measure_costs, read_costs
from dprd_cli.studies.forecast import StudyForecast, forecast
from dprd_cli.studies.plan import SIZES, StudyPlan, StudySettings, on_backbones, plan, unvaried
from dprd_cli.studies.run import StudyOutcome, finished_runs, run_study
from dprd_cli.studies.study import COSTS, Study
from dprd_cli.studies.summary import StudySummary, read_run
from dprd_cli.studies.toml import read_study
from dprd_cli.studies.write import write_costs, write_study
from dprd_cli.weights.start import implied_by_backbone

RUNS = Path("runs/ablate")


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateOptions:
    """What all variants of the studies share, and where their runs go. None: as `dprd train` has it.

    Attributes:
        data: Folder of the data, or `synthetic`.
        seeds: Seeds that every variant is trained with.
        size: `small`, `medium` or `full`; small on the built-in data and full elsewhere by default.
        backbones: Backbones that every variant is trained on.
        backbone_weights: What the backbones start from.
        schedule: Name of a schedule.
        config_file: TOML file with any of the configuration's keys.
        overrides: `KEY=VALUE` pairs.
        steps: Optimiser steps of each run.
        batch_size: Images a step.
        device: `auto`, `cpu` or `cuda`.
        on_bad_image: `error` or `skip`.
        out: Folder of all studies: runs go to OUT/STUDY/VARIANT-seedN, tables to OUT/STUDY.
    """

    data: str | None = None
    seeds: Sequence[int] = (0, 1, 2)
    size: str | None = None
    backbones: Sequence[str] = ()
    backbone_weights: str | None = None
    schedule: str | None = None
    config_file: Path | None = None
    overrides: Sequence[str] = ()
    steps: int | None = None
    batch_size: int | None = None
    device: str | None = None
    on_bad_image: str | None = None
    out: Path = RUNS

    def settings(self) -> StudySettings:
        """Return what `StudySettings.resolve` makes configurations of.

        Raises:
            UserError: At an unknown size, or backbone weights that are none.
        """
        built_in = self.data in (None, *BUILT_IN)
        published = self.backbone_weights not in (None, "none", "imagenet")
        return StudySettings(
            size=pick("size", self.size or ("small" if built_in else "full"), SIZES),
            schedule=self.schedule,
            config_file=self.config_file,
            flags={
                "data.path": self.data,
                "model.backbone.weights": self.backbone_weights,
                "train.steps": self.steps,
                "train.batch_size": self.batch_size,
                "train.device": self.device,
                "data.on_bad_image": self.on_bad_image,
            },
            overrides=tuple(self.overrides),
            base=implied_by_backbone("", str(self.backbone_weights)) if published else {},
        )


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study whose tables are written.

    Attributes:
        summary: Its numbers.
        folder: Where its tables lie.
        planned: Number of its runs, whether they are made or not.
        outcome: What became of them; nothing where given checkpoints are measured.
    """

    summary: StudySummary
    folder: Path
    planned: int = 0
    outcome: StudyOutcome = field(default_factory=StudyOutcome)

    def to_json(self) -> dict[str, Any]:
        """Return what `study.json` holds."""
        return self.summary.to_json()


def ablate(
    names: Sequence[str], options: AblateOptions | None = None, *, train: bool = True
) -> Iterator[StudyResult]:
    """Train what is missing of studies, and write their tables; each result comes when its study is done.

    Args:
        names: See `pick_studies`.
        options: What all variants share.
        train: Else only runs that are there count.

    Raises:
        UserError: If the studies and options do not fit each other, before anything is trained; if a study
            has no run and none is to be made; `InterruptedRun` after a signal, all saved.
    """
    plans = plan_studies(names, options or AblateOptions())
    return (_train(one) if train else _sum_up(one) for one in plans)


def forecast_studies(names: Sequence[str], options: AblateOptions | None = None) -> Iterator[StudyForecast]:
    """Return what is left of studies and how long it takes; see `ablate`."""
    return (forecast(one) for one in plan_studies(names, options or AblateOptions()))


def measure_study_costs(names: Sequence[str], options: AblateOptions | None = None) -> Iterator[StudyCosts]:
    """Measure what the variants of studies cost at test, and write `costs.md`; see `ablate`."""
    return (_measure_costs(one) for one in plan_studies(names, options or AblateOptions()))


def measure_studies(
    names: Sequence[str],
    checkpoints: Sequence[StudyCheckpoint],
    options: CheckpointStudyOptions | None = None,
    out: Path = RUNS,
) -> Iterator[StudyResult]:
    """Measure checkpoints as studies want them, train nothing, and write tables.

    Args:
        names: See `pick_studies`.
        checkpoints: What is measured; see `parse_checkpoints`.
        options: Data and device.
        out: Folder of all studies.

    Raises:
        UserError: If a study cannot be made of checkpoints, or they or the data cannot be used.
    """
    studies = pick_studies(names)
    for study in studies:
        check_measurable(study)
    return (_measure(study, checkpoints, options or CheckpointStudyOptions(), out) for study in studies)


def pick_studies(names: Sequence[str]) -> list[Study]:
    """Return the studies of these names: the paper's, groups of them, or TOML files.

    Raises:
        UsageError: At an unknown name, with a suggestion, or a file that is no study.
    """
    found: dict[str, Study] = {}
    for name in names:
        if name.endswith(".toml"):
            study = read_study(Path(name))
            found[study.name] = study
        elif name in STUDIES or name in GROUPS:
            found |= {key: STUDIES[key] for key in GROUPS.get(name, (name,))}
        else:
            known = [*STUDIES, *GROUPS]
            raise UsageError(
                f"unknown study '{name}'{did_you_mean(name, known)}; there are: {', '.join(known)}, and TOML "
                "files (docs/ablations.md)"
            )
    return list(found.values())


def plan_studies(names: Sequence[str], options: AblateOptions) -> list[StudyPlan]:
    """Return the runs of studies.

    Raises:
        UsageError: If a study needs checkpoints, or the options fix what it varies.
    """
    studies, settings = pick_studies(names), options.settings()
    plans = []
    for study in studies:
        if not study.variants:
            raise UsageError(f"{study.name} measures checkpoints; pass them with --weights NAME=RUN")
        moved = on_backbones(study, options.backbones)
        plans.append(plan(moved, settings, options.seeds, options.out))
        for line in unvaried(moved, settings):
            say(f"warning: {line}")
    return plans


def _train(plan: StudyPlan) -> StudyResult:
    outcome = run_study(plan, lambda outcome: write_study(_summary(plan, outcome), plan.folder))
    if set(COSTS) & set(plan.study.columns):
        measure_costs(plan, classes_of(plan.config))
    return _written(plan, outcome)


def _sum_up(plan: StudyPlan) -> StudyResult:
    outcome = finished_runs(plan)
    if not outcome.done:
        raise UserError(
            f"{plan.folder}: no finished run with these settings; train them without --report-only"
        )
    return _written(plan, outcome)


def _written(plan: StudyPlan, outcome: StudyOutcome) -> StudyResult:
    summary = _summary(plan, outcome)
    write_study(summary, plan.folder)
    return StudyResult(summary, plan.folder, len(plan.jobs), outcome)


def _summary(plan: StudyPlan, outcome: StudyOutcome) -> StudySummary:
    costs = {key: found.columns for key, found in read_costs(plan.folder).items()}
    return StudySummary(plan.study, [read_run(job) for job in outcome.done], costs, plan.to_json())


def _measure_costs(plan: StudyPlan) -> StudyCosts:
    found = measure_costs(plan, classes_of(plan.config), anew=True)
    costs = StudyCosts(plan.study, plan.folder, found)
    write_costs(costs.summary, plan.folder)
    return costs


def _measure(
    study: Study, checkpoints: Sequence[StudyCheckpoint], options: CheckpointStudyOptions, out: Path
) -> StudyResult:
    folder = out / (study.name if study.published else f"{study.name}-at-test")
    summary = measure_checkpoints(study, checkpoints, folder, options)
    write_study(summary, folder)
    return StudyResult(summary, folder)
