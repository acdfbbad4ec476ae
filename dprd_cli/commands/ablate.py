"""`dprd ablate`."""

from __future__ import annotations

from collections.abc import Sequence
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
    Tta,
    existing,
    print_json,
    say,
)
from dprd_cli.commands._study_modes import FILES, costs, forecast, measure, measuring

if TYPE_CHECKING:
    from dprd_cli.studies.plan import Job, Settings
    from dprd_cli.studies.study import Study
    from dprd_cli.studies.summary import Summary


def ablate(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="table1, table2, table3, fig4, all (these four), offsets, readings or one of them; table4, "
            "table5 with --weights; or a TOML file (docs/ablations.md).",
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
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Images per step.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="[NAME=]RUN|FILE|NAME",
            help="Train nothing: measure this checkpoint, at each of the study's settings at test, or beside "
            "published rows (table4, table5); repeat for several.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="With --weights: only the first so many images.")
    ] = 0,
    tta: Tta = False,
    on_bad_image: OnBadImage = None,
    device: Device = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Runs go to DIR/STUDY/VARIANT-seedN, tables to DIR/STUDY."),
    ] = Path("runs/ablate"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train nothing; list the variants, what is done, and the cost.")
    ] = False,
    cost_only: Annotated[
        bool,
        typer.Option(
            "--cost-only", help="Train nothing; measure parameters, MACs, memory and speed (Table 2)."
        ),
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing; write the tables of what is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Train the variants of the paper's tables and figures, and write the tables.

    Finished runs are skipped and started ones resumed: the same command goes on after any stop.
    """
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import UsageError
    from dprd_cli.studies.plan import SIZES, Settings, on_backbones, pick_studies

    modes = {"--dry-run": dry_run, "--cost-only": cost_only, "--report-only": report_only}
    modes["--weights"] = bool(weights)
    if sum(modes.values()) > 1:
        raise UsageError(f"{', '.join(name for name, given in modes.items() if given)}: one of them")
    chosen = pick_studies(studies)
    if weights:
        fixed: dict[str, object] = {
            "--size": size,
            "--backbone": backbone,
            "--backbone-weights": backbone_weights,
        }
        fixed |= {"--schedule": schedule, "--config": config, "--steps": steps, "--batch-size": batch_size}
        if any(fixed.values()):
            names = ", ".join(name for name, given in fixed.items() if given)
            raise UsageError(f"{names}: the checkpoints of --weights fix this")
        how = measuring(data, on_bad_image, overrides, device, limit, tta=tta)
        documents = [measure(study, weights, out, how, json=json) for study in chosen]
    else:
        if limit or tta:
            raise UsageError("--limit, --tta: for measuring checkpoints with --weights")
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
        planned = [_plan(on_backbones(study, backbone or []), settings, seeds, out) for study in chosen]
        documents, diverged = [], []
        for study, jobs in planned:
            if dry_run:
                documents.append(forecast(study, jobs, out, json=json))
            elif cost_only:
                documents.append(costs(study, jobs, out, json=json))
            else:
                content, bad = _train(study, jobs, settings, out, report_only=report_only, json=json)
                documents.append(content)
                diverged += bad
    if json:
        print_json({"studies": documents})
    if not weights:
        _fail_if(diverged)


def _fail_if(diverged: Sequence[Job]) -> None:
    from dprd_cli.errors import DivergedError

    if diverged:
        names = ", ".join(str(job.folder) for job in diverged)
        raise DivergedError(f"the loss of {names} was not finite; the other runs are done")


def _implied(backbone_weights: str | None) -> dict[str, Any]:
    """Return what the backbone's weights ask of the configuration."""
    if backbone_weights in (None, "none", "imagenet"):
        return {}  # without importing torch
    from dprd_cli.weights.load import implied_by_backbone

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


def _plan(study: Study, settings: Settings, seeds: str, out: Path) -> tuple[Study, list[Job]]:
    from dprd_cli.errors import UsageError
    from dprd_cli.studies.plan import plan, unvaried

    if not study.variants:
        raise UsageError(f"{study.name} measures checkpoints; pass them with --weights NAME=RUN")
    jobs = plan(study, settings, parse_seeds(seeds), out / study.name)
    for line in unvaried(study, settings):
        say(f"warning: {line}")
    return study, jobs


def _train(
    study: Study, jobs: list[Job], settings: Settings, out: Path, *, report_only: bool, json: bool
) -> tuple[dict[str, Any], list[Job]]:
    from dprd_cli.commands._study_tables import print_study
    from dprd_cli.errors import UserError
    from dprd_cli.studies.costs import classes_of, cost_columns, measure_costs, read_costs
    from dprd_cli.studies.run import Outcome, found_runs, run_study
    from dprd_cli.studies.study import COSTS
    from dprd_cli.studies.summary import Summary, read_run
    from dprd_cli.studies.write import write_study

    folder = out / study.name

    def summarize(outcome: Outcome) -> Summary:
        return Summary(study, [read_run(job) for job in outcome.done], cost_columns(read_costs(folder)))

    def write(outcome: Outcome) -> dict[str, Any]:
        return write_study(summarize(outcome), folder, _describe(settings, jobs))

    outcome = found_runs(jobs, out) if report_only else run_study(study, jobs, out, write)
    if report_only and not outcome.done:
        raise UserError(f"{folder}: no finished run with these settings; train them without --report-only")
    if not report_only and set(COSTS) & set(study.columns):
        measure_costs(jobs, folder, classes_of(jobs[0].config))
    content = write(outcome)
    if not json:
        print_study(summarize(outcome))
    left = len(jobs) - len(outcome.done) - len(outcome.diverged)
    say(f"{study.name}: {len(outcome.done)} of {len(jobs)} runs; {folder}: {FILES}, plot.png")
    if left and not report_only:
        say(f"{study.name}: {left} runs are with another process; the same command completes the tables")
    return content, outcome.diverged


def _describe(settings: Settings, jobs: Sequence[Job]) -> dict[str, Any]:
    """Return what all variants share, for `study.json`."""
    config = jobs[0].config
    return {
        "size": settings.size,
        "schedule": config.schedule,
        "data": config.data.path,
        "backbones": list(dict.fromkeys(job.config.model.backbone.name for job in jobs)),
        "steps": config.train.steps,
        "batch_size": config.train.batch_size,
        "seeds": list(dict.fromkeys(job.seed for job in jobs)),
        "config": str(settings.config_file) if settings.config_file else None,
        "set": list(settings.overrides),
    }
