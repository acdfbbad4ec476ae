"""`dprd visualize-parts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands._help import DETECTIONS, DRAWING, OUTPUT
from dprd_cli.commands._options import (
    PART_OFFSETS,
    PART_STYLES,
    DataOverrides,
    Device,
    ImageInputs,
    Json,
    Lists,
    MaxObjects,
    NullNames,
    Overwrite,
    PartOffsets,
    PartStyle,
    Plugins,
    Precision,
    Recursive,
    Weights,
    print_json,
    say,
)

if TYPE_CHECKING:
    from dprd_cli.evaluation.parts import PartDeformation


def visualize_parts(
    inputs: ImageInputs = None,
    recursive: Recursive = False,
    lists: Lists = None,
    null: NullNames = False,
    weights: Weights = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where the figures go; by default parts, or if that holds something, parts-2, ...",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    score_thresh: Annotated[
        float,
        typer.Option(
            "--score-thresh",
            metavar="SCORE",
            min=0,
            max=1,
            help="Show detections from this score.",
            rich_help_panel=DETECTIONS,
        ),
    ] = 0.5,
    max_objects: MaxObjects = 10,
    per_stage: Annotated[
        bool,
        typer.Option(
            "--per-stage", help="One panel for what went into each cascade stage.", rich_help_panel=DRAWING
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="One more figure: reference beside deformed parts.", rich_help_panel=DRAWING
        ),
    ] = False,
    grid: Annotated[
        bool | None,
        typer.Option(
            "--grid/--no-grid",
            help="One figure of all objects; by default for several images.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    style: PartStyle = "tones",
    columns: Annotated[
        int,
        typer.Option(
            "--columns", metavar="N", min=1, help="Columns of that figure.", rich_help_panel=DRAWING
        ),
    ] = 4,
    part_offsets: PartOffsets = "learned",
    overrides: DataOverrides = None,
    device: Device = None,
    precision: Precision = None,
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Show which part moved where, and which one decided (the paper's Fig. 6), and measure it."""
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import UsageError
    from dprd_cli.evaluation.part_figures import PartFigureOptions
    from dprd_cli.evaluation.part_figures import visualize_parts as draw
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.inference.sources import find_images
    from dprd_cli.weights.load import load_model

    options = PartFigureOptions(
        output=OutputChoice(out, overwrite),
        score_thresh=score_thresh,
        max_objects=max_objects,
        per_stage=per_stage,
        compare=compare,
        grid=grid,
        columns=columns,
        style=pick("style", style, PART_STYLES),
        part_offsets=pick("kind of part offsets", part_offsets, PART_OFFSETS),
    )
    if not inputs and not lists:
        raise UsageError("nothing to look at; pass images, folders or a --list FILE")
    paths = find_images(inputs or [], lists=lists or [], null=null, recursive=recursive, leave_out=out)
    load_plugins(plugins or [])
    model = load_model(weights, device or "auto").with_precision(precision or "auto")
    model = model.with_data(overrides=overrides or [])
    say(f"checkpoint: {model.source} (step {model.step})")
    summary = draw(model, paths, options)
    if json:
        print_json(summary.to_json())
    elif summary.deformation.total is not None:
        _print_statistics(summary.deformation)
    else:
        say(f"no object reached the score {score_thresh:g}; lower --score-thresh to see more")
    say(
        f"results: {len(summary.files)} files in {summary.folder}/"
        if summary.files
        else "results: nothing saved"
    )
    summary.raise_for_failures()


def _print_statistics(result: PartDeformation) -> None:
    """Print how parts deform, per class; see `GroupDeformation` for the columns."""
    from math import exp

    from dprd_cli.commands._tables import print_rows

    told = result.total is not None and result.total.is_told
    columns = ("objects", "IoU", "|dx|", "|dy|", "size", "motion", "adapts", *(("decides",) if told else ()))
    rows: list[tuple[str, ...]] = [
        (
            group.name,
            str(group.objects),
            f"{group.iou:.3f}",
            f"{group.abs_dx:.3f}",
            f"{group.abs_dy:.3f}",
            f"{exp(group.log_w):.2f}x{exp(group.log_h):.2f}",
            f"{group.motion:.3f}",
            f"{group.spread_class:.3f}",
            *((group.telling,) if told else ()),
        )
        for group in (*result.classes, *filter(None, [result.total]))
    ]
    print_rows("class", columns, rows)
    say("IoU: with the reference parts; |dx|, |dy|: shift in part sizes; size: width x height against them;")
    say("motion: root mean square of the offsets; adapts: what is left of it after each class's mean offsets")
    if told:
        say("decides: the part without which the class score falls most, and by how much on average")
