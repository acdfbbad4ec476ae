"""From a study to its runs: each variant's configuration and folder, and what is already there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import differences, parse_overrides, read_toml, validate
from dprd_cli.errors import UsageError, UserError, did_you_mean
from dprd_cli.files.atomic import read_json
from dprd_cli.studies.catalog import GROUPS, STUDIES
from dprd_cli.studies.study import Study, Variant
from dprd_cli.studies.toml import read_study

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
State = Literal["absent", "started", "done"]


@dataclass(frozen=True, slots=True)
class Settings:
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
class Checkpoint:
    """A detector that a study measures.

    Attributes:
        name: Its name in tables and files.
        spec: What `dprd eval --weights` takes.
    """

    name: str
    spec: str


def parse_checkpoints(words: Sequence[str]) -> list[Checkpoint]:
    """Return the checkpoints of `--weights`: `NAME=RUN`, or a run folder, file or published name alone.

    Raises:
        UsageError: If a name is used twice, or cannot name a file.
    """
    found: dict[str, Checkpoint] = {}
    for word in words:
        name, sign, spec = word.partition("=")
        if not sign or Path(word).exists():
            path = Path(word)
            name, spec = (path.parent.name or path.stem) if path.suffix == ".pt" else path.name, word
        if not name or not spec or "/" in name or name in (".", ".."):
            raise UsageError(f"--weights {word}: expected NAME=RUN, such as --weights mine=runs/mine")
        if name in found:
            raise UsageError(f"--weights {word}: the name {name} is taken; give another, as in NAME=RUN")
        found[name] = Checkpoint(name, spec)
    return list(found.values())


def pick_studies(names: Sequence[str]) -> list[Study]:
    """Return the studies that the command line names: the paper's, groups of them, or TOML files.

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


def plan(study: Study, settings: Settings, seeds: Sequence[int], out: Path) -> list[Job]:
    """Return a study's runs, seed by seed, so that an early stop leaves a table that can be compared.

    Args:
        study: With its backbones.
        settings: What its variants share.
        seeds: Seeds that each variant is trained with.
        out: Folder of the study.

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
            folder = out / f"{trained.key}-seed{seed}"
            jobs.append(Job(variant, seed, settings.resolve(variant, seed), folder))
    return jobs


def trained_as(study: Study, variant: Variant) -> Variant:
    """Return the variant whose training a variant measures: itself, or its base."""
    return variant if variant.part_offsets == "learned" else study.variant(variant.base)


def differing(one: Config, other: Config, ignored: Sequence[str] = FREE_KEYS) -> dict[str, tuple[Any, Any]]:
    """Return the keys in which two configurations differ, with both values."""
    return {key: pair for key, pair in differences(one, other).items() if key not in ignored}


def unvaried(study: Study, settings: Settings) -> list[str]:
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


def state_of(job: Job) -> State:
    """Return what is in a job's folder.

    Raises:
        UserError: If it holds another run, naming the keys in which they differ.
    """
    path = job.folder / "config.toml"
    if not path.is_file():
        # hidden files are a lock, or what a kill left of a file half written
        if job.folder.is_dir() and any(not entry.name.startswith(".") for entry in job.folder.iterdir()):
            raise UserError(f"{job.folder} is not empty and no run; move it away, or choose another --out")
        return "absent"
    keys = differing(config_of(job.folder), job.config)
    if keys:
        shown = [f"{key} = {there!r}, not {here!r}" for key, (there, here) in list(keys.items())[:3]]
        more = f", and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise UserError(
            f"{job.folder} holds another run ({', '.join(shown)}{more}); choose another --out, or move it "
            "away"
        )
    return "done" if is_finished(job.folder, job.config.train.steps) else "started"


def is_finished(folder: Path, steps: int) -> bool:
    """Whether a run folder has the results of its last step."""
    path = folder / "results.json"
    return path.is_file() and read_json(path, "results").get("step") == steps


def finished_like(job: Job, runs: Path) -> Path | None:
    """Return a finished run with the job's configuration elsewhere in `runs`: studies share variants."""
    folders = sorted(path.parent for path in runs.glob("*/*/config.toml"))
    return next((folder for folder in folders if folder != job.folder and _serves(folder, job)), None)


def _serves(folder: Path, job: Job) -> bool:
    try:
        return is_finished(folder, job.config.train.steps) and not differing(config_of(folder), job.config)
    except UserError:
        return False  # a broken run of another study is no fault of this one


def config_of(folder: Path) -> Config:
    """Return a run folder's configuration; keys that are newer than the run have their defaults.

    Raises:
        UsageError: If there is none, or it cannot be read.
    """
    path = folder / "config.toml"
    return validate(read_toml(path), str(path))
