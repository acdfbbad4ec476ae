"""`dprd report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._help import DATA, MEASURE, OUTPUT
from dprd_cli.commands._options import Data, Device, Json, Overwrite, print_json, progress, say


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help="Run folders, checkpoints, folders of ablations; the newest run by default.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The page; by default report.html in the run's folder, of several runs in the working "
            "folder; if that is there, report-2.html, ...",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help="Measure each checkpoint on the first so many images; 0 takes all.",
            rich_help_panel=DATA,
        ),
    ] = 64,
    evaluate: Annotated[
        bool | None,
        typer.Option(
            "--eval/--no-eval",
            help="Measure checkpoints on their held-out data, or use only files; by default up to four runs.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    data: Data = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page about runs: settings, curves, AP, confusions, images, parts."""
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.report.measure import ReportOptions
    from dprd_cli.report.write import write_report

    options = ReportOptions(limit=limit, evaluate=evaluate, data=data, device=device or "auto")
    with progress("report") as update:
        page = write_report(runs or [], OutputChoice(out, overwrite), options, progress=update)
    if json:
        print_json(page.to_json())
    say(f"report: {page.path} ({page.bytes / 1e6:.1f} MB)")
