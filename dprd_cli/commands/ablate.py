"""`dprd ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands._options import (
    BACKBONES,
    BackboneWeights,
    Data,
    Device,
    Json,
    OnBadImage,
    Overrides,
    existing,
    print_json,
    say,
)

if TYPE_CHECKING:
    from dprd_cli.ablations import Study
    from dprd_cli.studies import Job, Settings


def ablate(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="table1, table2, table3, fig4, all (these four), offsets, readings or one of them, or a "
            "TOML file (docs/ablations.md).",
        ),
    ],
    data: Data = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="0,1,2", help="Seeds that every variant is trained with.")
    ] = "0,1,2",
    size: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="NAME", help="small (default on the built-in data), medium or full (elsewhere)."
        ),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", metavar="NAME", help="Backbone of every variant; repeat for several."),
    ] = None,
    backbone_weights: BackboneWeights = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="NAME", help="1x, 3x, voc, photos or small.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file with any of the config's keys.")
    ] = None,
    overrides: Overrides = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps of each run.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Pictures per step.")] = None,
    on_bad_image: OnBadImage = None,
    device: Device = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Runs go to DIR/STUDY/VARIANT-seedN, tables to DIR/STUDY."),
    ] = Path("runs/ablate"),
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing; write the tables of what is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Train the variants of the paper's tables and figures, and write the tables.

    Finished runs are skipped and started ones resumed: the same command goes on after any stop.
    """
    from dprd_cli.presets import pick
    from dprd_cli.studies import SIZES, Settings, on_backbones, pick_studies

    for name in backbone or []:
        pick("backbone", name, BACKBONES)
    built_in = data in (None, "synthetic")
    settings = Settings(
        size=pick("size", size or ("small" if built_in else "full"), SIZES),
        schedule=schedule,
        config_file=existing(config),
        flags={
            "data.path": data,
            "model.backbone.weights": backbone_weights,
            "train.steps": steps,
            "train.batch_size": batch_size,
            "train.device": device,
            "data.on_bad_image": on_bad_image,
        },
        overrides=tuple(overrides or []),
        base=_implied(backbone_weights),
    )
    chosen = [on_backbones(study, backbone or []) for study in pick_studies(studies)]
    documents = [
        _run(study, settings, parse_seeds(seeds), out, report_only=report_only, json=json) for study in chosen
    ]
    if json:
        print_json({"studies": documents})


def _implied(backbone_weights: str | None) -> dict[str, Any]:
    """Return what the backbone's weights ask of the configuration."""
    if backbone_weights in (None, "none", "imagenet"):
        return {}  # without importing torch
    from dprd_cli.weights import implied_by_backbone

    return implied_by_backbone(str(backbone_weights))


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of `0,1,2`.

    Raises:
        UsageError: If it is not of that form.
    """
    from dprd_cli.errors import UsageError

    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words) or len(set(words)) != len(words):
        raise UsageError(f"--seeds {text}: expected different numbers with commas between, such as 0,1,2")
    return [int(word) for word in words]


def _run(
    study: Study, settings: Settings, seeds: list[int], out: Path, *, report_only: bool, json: bool
) -> dict[str, Any]:
    from dprd_cli.commands._study_tables import print_study
    from dprd_cli.errors import DivergedError
    from dprd_cli.evaluation.study_files import write_study
    from dprd_cli.evaluation.study_tables import Summary, read_run
    from dprd_cli.studies import plan, unvaried
    from dprd_cli.training.study import Outcome, found_runs, run_study

    for line in unvaried(study, settings):
        say(f"warning: {line}")
    folder = out / study.name
    jobs = plan(study, settings, seeds, folder)

    def write(outcome: Outcome) -> dict[str, Any]:
        summary = Summary(study, [read_run(job) for job in outcome.done])
        return write_study(summary, folder, _describe(settings, seeds, jobs))

    outcome = found_runs(jobs, out) if report_only else run_study(study, jobs, out, write)
    content = write(outcome)
    if not json:
        print_study(Summary(study, [read_run(job) for job in outcome.done]))
    left = len(jobs) - len(outcome.done)
    files = "table.md, table.tex, table.csv, study.json, plot.png"
    say(f"{study.name}: {len(outcome.done)} of {len(jobs)} runs; {folder}: {files}")
    if outcome.diverged:
        names = ", ".join(str(job.folder) for job in outcome.diverged)
        raise DivergedError(f"{study.name}: the loss of {names} was not finite; the other runs are done")
    if left and not report_only:
        say(f"{study.name}: {left} runs are with another process; the same command completes the tables")
    return content


def _describe(settings: Settings, seeds: list[int], jobs: list[Job]) -> dict[str, Any]:
    """Return what all variants share, for `study.json`."""
    config = jobs[0].config
    return {
        "size": settings.size,
        "schedule": config.schedule,
        "data": config.data.path,
        "backbone": config.model.backbone.name,
        "steps": config.train.steps,
        "batch_size": config.train.batch_size,
        "seeds": seeds,
        "config": str(settings.config_file) if settings.config_file else None,
        "set": list(settings.overrides),
    }
