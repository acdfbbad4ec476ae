"""`dprd gradcam`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands._help import DATA, DETECTIONS, DETECTOR, MEASURE, OUTPUT
from dprd_cli.commands._options import (
    Data,
    DataOverrides,
    Device,
    ImageInputs,
    Json,
    Lists,
    MaxObjects,
    NullNames,
    Overwrite,
    Plugins,
    Recursive,
    Weights,
    print_json,
    say,
)

if TYPE_CHECKING:
    from dprd_cli.gradcam.localization import LocalizationStatistics


def gradcam(
    inputs: ImageInputs = None,
    recursive: Recursive = False,
    lists: Lists = None,
    null: NullNames = False,
    weights: Weights = "",
    compare: Annotated[
        str,
        typer.Option(
            "--compare",
            metavar="RUN|FILE|NAME",
            help="A second detector, as --weights, or cascade-mrcnn: its newest run, else published weights; "
            "beside demo, the demo of it.",
            rich_help_panel=DETECTOR,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where the figures go; by default gradcam, or if that holds something, gradcam-2, ...",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="hirescam, layercam, elementwise, gradcam, gradcam++, xgradcam or eigengradcam.",
            rich_help_panel=MEASURE,
        ),
    ] = "hirescam",
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="p2 to p5, or a module of the backbone, such as layer4; by default all levels that the "
            "object's box and parts are pooled from.",
            rich_help_panel=MEASURE,
        ),
    ] = "",
    score_thresh: Annotated[
        float,
        typer.Option(
            "--score-thresh",
            metavar="SCORE",
            min=0,
            max=1,
            help="Explain detections from this score.",
            rich_help_panel=DETECTIONS,
        ),
    ] = 0.5,
    max_objects: MaxObjects = 3,
    all_found: Annotated[
        bool,
        typer.Option(
            "--all-found",
            help="Also objects that only the second detector found.",
            rich_help_panel=DETECTIONS,
        ),
    ] = False,
    stats: Annotated[
        bool,
        typer.Option(
            "--stats",
            help="Measure on annotated images how well maps stay on their object.",
            rich_help_panel=MEASURE,
        ),
    ] = False,
    data: Data = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="With --stats: val or train.", rich_help_panel=DATA)
    ] = "val",
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help="With --stats: only the first so many images; all by default.",
            rich_help_panel=DATA,
        ),
    ] = 0,
    overrides: DataOverrides = None,
    device: Device = None,
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Show what in the image an object's class score comes from, in one or two detectors (Fig. 5)."""
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import UsageError
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.gradcam.explain import ExplainOptions, StatisticsOptions, explain
    from dprd_cli.gradcam.explainer import METHODS
    from dprd_cli.gradcam.models import load_models
    from dprd_cli.inference.sources import find_images
    from dprd_cli.structures.sample import SPLITS

    pick("method", method, METHODS)
    chosen_split = pick("split", split, SPLITS)
    if not inputs and not lists and not stats:
        raise UsageError("pass images, or --stats to measure on annotated ones")
    if data is not None and not stats:
        raise UsageError("--data: only with --stats")
    paths = find_images(inputs or [], lists=lists or [], null=null, recursive=recursive, leave_out=out)
    load_plugins(plugins or [])
    models = load_models(weights, compare, device or "auto")
    models = [model.with_data(overrides=overrides or []) for model in models]
    options = ExplainOptions(
        output=OutputChoice(out, overwrite),
        method=method,
        layer=layer,
        score_thresh=score_thresh,
        max_objects=max_objects,
        all_found=all_found,
        statistics=StatisticsOptions(data, chosen_split, limit) if stats else None,
    )
    summary = explain(models, paths, options)
    if json:
        print_json(summary.to_json())
    elif summary.statistics is not None and summary.statistics.objects:
        _print_statistics(summary.statistics)
    say(f"results: in {summary.folder}/" if summary.folder.exists() else "results: nothing saved")
    summary.raise_for_unread()


def _print_statistics(found: LocalizationStatistics) -> None:
    from dprd_cli.commands._tables import print_rows

    measures = ("share_mask", "share_box", "hit_mask", "hit_box")
    rows: list[tuple[str, ...]] = [
        (row.model, *(_percent(row.means[name]) for name in measures)) for row in found.models
    ]
    first = found.models[0].means
    uniform = (_percent(first["area_mask"]), _percent(first["area_box"]))
    rows.append(("uniform map", *uniform, *uniform))
    print_rows("", ("energy in mask", "in box", "maximum in mask", "in box"), rows)
    for name, lead in found.lead.items():
        if lead.mean is not None:
            spread = "" if lead.interval is None else f" ± {100 * lead.interval:.1f}"
            say(f"{name}: the first is ahead by {100 * lead.mean:.1f}{spread} points (95 % interval)")
    say(f"{found.objects} objects that every detector found; {found.missed} others left out")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
