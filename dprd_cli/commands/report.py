"""`dprd report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._options import Data, Device, Json, data_flags, print_json, progress, say, with_data


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
            help="The page; report.html in the run's folder, of several runs in the working folder.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=0, help="Measure each checkpoint on the first so many images; 0: all."),
    ] = 64,
    evaluate: Annotated[
        bool | None,
        typer.Option(
            "--eval/--no-eval",
            help="Measure checkpoints on their held-out data, or use only files; by default up to four runs.",
        ),
    ] = None,
    data: Data = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page about runs: settings, curves, AP, confusions, images, parts."""
    from dprd_cli.report.page import write_report

    with progress("measure") as update:
        written = write_report(
            runs or [],
            out,
            limit=limit,
            evaluate=evaluate,
            configure=lambda config: with_data(config, None, data_flags(config, data, None)),
            device=device or "auto",
            say=say,
            progress=update,
        )
    if json:
        content = {"report": str(written.path), "bytes": written.bytes, "limit": limit}
        print_json({**content, "studies": written.studies, "runs": written.runs})
    say(f"report: {written.path} ({written.bytes / 1e6:.1f} MB)")
