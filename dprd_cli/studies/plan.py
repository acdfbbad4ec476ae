"""From a study to its runs: each variant's configuration and the folder of each of its seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import differences, parse_overrides
from dprd_cli.errors import UsageError
from dprd_cli.studies.study import Study, Variant

#: Value of `--size` -> what it adds to an architecture's name.
SIZES = {"small": "-small", "medium": "-medium", "full": ""}
#: Keys that do not change what is learned or what `results.json` measures.
FREE_KEYS = (
    "preset",
    "schedule",
    "data.workers",
    "train.device",
    "train.eval_every",
    "train.eval_limit",
    "train.log_every",
    "train.save_every",
)


@dataclass(frozen=True, slots=True)
class StudySettings:
    """What all variants of a study share, as the user gave it.

    Attributes:
        size: Key of `SIZES`.
        schedule: As for `resolve`, as are the others.
        config_file: TOML file.
        flags: Dotted key -> value, or None.
        overrides: `KEY=VALUE` pairs.
        base: As for `resolve`: what the backbone's weights ask for.
    """

    size: str = "small"
    schedule: str | None = None
    config_file: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    base: Mapping[str, Any] = field(default_factory=dict)

    def resolve(self, variant: Variant, seed: int | None = None) -> Config:
        """Return a variant's configuration; what the variant sets wins."""
        own = [f"{key}={json.dumps(value)}" for key, value in variant.overrides.items()]
        sized = variant.preset.endswith(("-small", "-medium"))
        return resolve(
            preset=variant.preset if sized else variant.preset + SIZES[self.size],
            schedule=self.schedule,
            config_file=self.config_file,
            flags={**self.flags, "train.seed": seed},
            overrides=[*self.overrides, *own],
            base=dict(self.base),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One training of a study, or one of its measurements.

    Attributes:
        variant: Which row.
        seed: Which of its runs.
        config: The whole run.
        folder: The run folder.
    """

    variant: Variant
    seed: int
    config: Config
    folder: Path


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study with its runs, whether they are made yet or not.

    Attributes:
        study: With its backbones.
        settings: What its variants share.
        jobs: Its runs, in the order in which they are made; at least one.
        runs: Folder of all studies: a finished run there with a job's configuration serves it too.
    """

    study: Study
    settings: StudySettings
    jobs: tuple[Job, ...]
    runs: Path

    @property
    def folder(self) -> Path:
        """Where the study's tables go."""
        return self.runs / self.study.name

    @property
    def config(self) -> Config:
        """The configuration of the first run; the others' data and length are the same."""
        return self.jobs[0].config

    def by_variant(self) -> dict[str, list[Job]]:
        """Return key of a variant -> its jobs."""
        jobs: dict[str, list[Job]] = {}
        for job in self.jobs:
            jobs.setdefault(job.variant.key, []).append(job)
        return jobs

    def to_json(self) -> dict[str, Any]:
        """Return what all variants share, for the record."""
        return {
            "size": self.settings.size,
            "schedule": self.config.schedule,
            "data": self.config.data.path,
            "backbones": list(dict.fromkeys(job.config.model.backbone.name for job in self.jobs)),
            "steps": self.config.train.steps,
            "batch_size": self.config.train.batch_size,
            "seeds": list(dict.fromkeys(job.seed for job in self.jobs)),
            "config": str(self.settings.config_file) if self.settings.config_file else None,
            "set": list(self.settings.overrides),
        }


def on_backbones(study: Study, backbones: Sequence[str]) -> Study:
    """Return a study with every variant on each backbone; with several, the backbone joins keys and labels.

    The paper's numbers stay with R50, theirs.
    """
    if not backbones:
        return study
    several = len(backbones) > 1

    def moved(variant: Variant, backbone: str) -> Variant:
        end = f"-{backbone}" if several else ""
        return replace(
            variant,
            key=variant.key + end,
            label=variant.label + (f", {backbone.upper()}" if several else ""),
            base=variant.base and variant.base + end,
            overrides={**variant.overrides, "model.backbone.name": backbone},
            paper=variant.paper if backbone == "r50" or not several else {},
        )

    variants = tuple(moved(variant, backbone) for backbone in backbones for variant in study.variants)
    ends = [f"-{backbone}" for backbone in backbones] if several else [""]
    pairs = tuple((one + end, other + end) for end in ends for one, other in study.pairs)
    return replace(study, variants=variants, pairs=pairs)


def plan(study: Study, settings: StudySettings, seeds: Sequence[int], runs: Path) -> StudyPlan:
    """Return a study's runs, seed by seed, so that an early stop leaves a table that can be compared.

    Args:
        study: With its backbones.
        settings: What its variants share.
        seeds: Seeds that each variant is trained with.
        runs: Folder of all studies.

    Raises:
        UsageError: If the settings fix what the study varies.
    """
    varied = {key for variant in study.variants for key in variant.overrides}
    for pair in settings.overrides:
        parse_overrides([pair])
        key = pair.partition("=")[0].strip()
        if key in varied:
            raise UsageError(f"--set {pair}: {study.name} sets {key} itself; leave it out")
    jobs = []
    for seed in seeds:
        for variant in study.variants:
            trained = trained_as(study, variant)
            folder = runs / study.name / f"{trained.key}-seed{seed}"
            jobs.append(Job(variant, seed, settings.resolve(variant, seed), folder))
    return StudyPlan(study, settings, tuple(jobs), runs)


def trained_as(study: Study, variant: Variant) -> Variant:
    """Return the variant whose training a variant measures: itself, or its base."""
    return variant if variant.part_offsets == "learned" else study.variant(variant.base)


def differing(one: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the keys in which two runs differ in what they learn or measure, with both values."""
    return {key: values for key, values in differences(one, other).items() if key not in FREE_KEYS}


def unvaried(study: Study, settings: StudySettings) -> list[str]:
    """Return lines on variants whose declared difference the settings removed.

    Raises:
        UsageError: If nothing is left of one.
    """
    lines = []
    plain = replace(settings, config_file=None, overrides=(), flags={})
    for variant in study.variants:
        if not variant.base or variant.part_offsets != "learned":
            continue
        base = study.variant(variant.base)
        meant = differing(plain.resolve(variant), plain.resolve(base))
        left = differing(settings.resolve(variant), settings.resolve(base))
        lost = [key for key in meant if key not in left]
        if not left:
            raise UsageError(
                f"{study.name}: '{variant.key}' is '{base.key}' again, because the settings (--config, "
                f"--set) fix {', '.join(lost) or 'what it varies'}; leave that out"
            )
        if lost:
            lines.append(f"{study.name}: {variant.key} and {base.key} share {', '.join(lost)} here")
    return lines
