"""`dprd ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import DATA, DETECTOR, OUTPUT, STUDY, TRAINING
from dprd_cli.commands._options import (
    BackboneWeights,
    ConfigFile,
    Data,
    Device,
    Json,
    OnBadImage,
    Overrides,
    Tta,
    check_backbone,
    existing,
)
from dprd_cli.commands._study_modes import check_modes, parse_seeds, show_all
from dprd_cli.config.backbone_names import BACKBONES


def ablate(
    context: typer.Context,
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="table1, table2, table3, fig4, all (these four), offsets, signpost, readings or one of "
            "them; table4, table5 with --weights; or a TOML file (docs/ablations.md).",
        ),
    ],
    data: Data = None,
    seeds: Annotated[
        str,
        typer.Option(
            "--seeds",
            metavar="N,N,...",
            help="Seeds that every variant is trained with.",
            rich_help_panel=STUDY,
        ),
    ] = "0,1,2",
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="NAME",
            help="small (default on the built-in data), medium or full (elsewhere).",
            rich_help_panel=STUDY,
        ),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            metavar="NAME",
            autocompletion=_complete.among(*BACKBONES),
            help="Backbone of every variant; repeat for several.",
            rich_help_panel=DETECTOR,
        ),
    ] = None,
    backbone_weights: BackboneWeights = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME",
            autocompletion=_complete.schedules,
            help="1x, 3x, voc, photos or small.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", min=1, help="Optimiser steps of each run.", rich_help_panel=TRAINING
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Images per step.", rich_help_panel=TRAINING),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="[NAME=]RUN|FILE|NAME",
            help="Train nothing: measure this checkpoint, at each of the study's settings at test, or beside "
            "published rows (table4, table5); repeat for several.",
            rich_help_panel=DETECTOR,
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help="With --weights: only the first so many images.",
            rich_help_panel=DATA,
        ),
    ] = 0,
    tta: Tta = False,
    on_bad_image: OnBadImage = None,
    device: Device = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Runs go to DIR/STUDY/VARIANT-seedN, tables to DIR/STUDY.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("runs/ablate"),
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing; list the variants, what is done, and the cost.",
            rich_help_panel=STUDY,
        ),
    ] = False,
    cost_only: Annotated[
        bool,
        typer.Option(
            "--cost-only",
            help="Train nothing; measure parameters, MACs, memory and speed (Table 2).",
            rich_help_panel=STUDY,
        ),
    ] = False,
    report_only: Annotated[
        bool,
        typer.Option(
            "--report-only", help="Train nothing; write the tables of what is there.", rich_help_panel=STUDY
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Train the variants of the paper's tables and figures, and write the tables.

    Finished runs are skipped and started ones resumed: the same command goes on after any stop.
    """
    from dprd_cli.studies import ablate as library
    from dprd_cli.studies.checkpoints import CheckpointStudyOptions, parse_checkpoints

    check_modes(context.params)
    if weights:
        how = CheckpointStudyOptions(
            data=data,
            on_bad_image=on_bad_image,
            overrides=overrides or (),
            device=device or "auto",
            limit=limit,
            tta=tta,
        )
        show_all(library.measure_studies(studies, parse_checkpoints(weights), how, out), json=json)
        return
    options = library.AblateOptions(
        data=data,
        seeds=parse_seeds(seeds),
        size=size,
        backbones=[name for one in backbone or () if (name := check_backbone(one))],
        backbone_weights=backbone_weights,
        schedule=schedule,
        config_file=existing(config),
        overrides=overrides or (),
        steps=steps,
        batch_size=batch_size,
        device=device,
        on_bad_image=on_bad_image,
        out=out,
    )
    if dry_run:
        show_all(library.forecast_studies(studies, options), json=json)
    elif cost_only:
        show_all(library.measure_study_costs(studies, options), json=json)
    else:
        show_all(library.ablate(studies, options, train=not report_only), json=json)
