"""From what the command line names to one HTML file, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dprd_cli.config.tree import flatten
from dprd_cli.errors import UserError
from dprd_cli.files.atomic import write_atomically
from dprd_cli.files.output_folder import OutputChoice, output_file
from dprd_cli.report.collect import collect
from dprd_cli.report.headline import headline
from dprd_cli.report.measure import ReportOptions, RunMeasurement, measure
from dprd_cli.report.render import render
from dprd_cli.report.runs import RunFiles
from dprd_cli.runtime.progress import Progress, say, stage

#: More runs than these are not measured unless asked for.
MEASURED_RUNS = 4
_IMAGES = 12  # best and worst images of a page together, for each of both
_SHOWN_PER_RUN = 4


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a page holds of one run.

    Attributes:
        files: What its files say.
        measurement: What was measured for the page, or None.
        not_measured: Why nothing was, or None.
    """

    files: RunFiles
    measurement: RunMeasurement | None
    not_measured: str | None

    def to_json(self) -> dict[str, Any]:
        """Return its names, settings, numbers, and what is lacking."""
        run, measurement = self.files, self.measurement
        flat = flatten(run.config or (measurement.config if measurement else {}))
        best = headline(run, measurement)
        return {
            "name": run.name,
            "folder": str(run.folder) if run.folder else None,
            "checkpoint": str(run.checkpoint) if run.checkpoint else None,
            "preset": flat.get("preset"),
            "backbone": flat.get("model.backbone.name"),
            "data": flat.get("data.path"),
            "commit": run.environment.get("commit"),
            "headline": {key: value for key, value in best.metrics.items() if not key.startswith("loss")},
            "headline_from": best.source or None,
            "recorded": {one.file: one.content for one in run.recorded},
            "measured": measurement and measurement.to_json(),
            "not_measured": self.not_measured,
            "lacking": run.lacking,
        }


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A page that was written, and its numbers.

    Attributes:
        path: The file.
        bytes: Its size.
        limit: Number of images that each checkpoint was measured on at most; 0: all.
        studies: Names of the ablations.
        runs: Its runs.
    """

    path: Path
    bytes: int
    limit: int
    studies: tuple[str, ...]
    runs: tuple[RunReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "report": str(self.path),
            "bytes": self.bytes,
            "limit": self.limit,
            "studies": list(self.studies),
            "runs": [run.to_json() for run in self.runs],
        }


def write_report(
    specs: Sequence[str],
    output: OutputChoice | None = None,
    options: ReportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ReportFile:
    """Write one HTML page about runs, which needs no other file and no network.

    Args:
        specs: Run folders, checkpoints, folders of ablations; see `collect`.
        output: The page; by default `report.html` (or the next free `report-2.html`) in the run's folder, of
            several in the working folder.
        options: What is measured, and how.
        progress: Called with (images done, images) for each run.

    Raises:
        UserError: If there is nothing of a run, or the page cannot be written.
    """
    options = options or ReportOptions()
    runs, studies = collect(specs)
    default = (runs[0].folder or Path()) / "report.html" if len(runs) == 1 else Path("report.html")
    choice = output or OutputChoice()
    if choice.out is not None and choice.out.is_dir():
        default = choice.out / "report.html"
        choice = replace(choice, out=None)
    output_file(choice, default)
    measured, left_out = _measure_runs(runs, options, progress)
    out = output_file(choice, default)  # once more: another report may have come first
    with stage(f"write {out.name}"):
        html = render(runs, studies, measured, left_out).encode()
        write_atomically(out, lambda file: file.write(html))
    reports = (RunReport(run, measured.get(run.name), left_out.get(run.name)) for run in runs)
    return ReportFile(out, len(html), options.limit, tuple(study.name for study in studies), tuple(reports))


def _measure_runs(
    runs: Sequence[RunFiles], options: ReportOptions, progress: Progress | None
) -> tuple[Mapping[str, RunMeasurement], Mapping[str, str]]:
    """Return what was measured of each run, or why nothing was, by its name."""
    evaluate = len(runs) <= MEASURED_RUNS if options.evaluate is None else options.evaluate
    keep = max(1, min(_SHOWN_PER_RUN, _IMAGES // max(len(runs), 1)))
    measured: dict[str, RunMeasurement] = {}
    left_out: dict[str, str] = {}
    for run in runs:
        if not evaluate:
            left_out[run.name] = "Nothing was measured for this page (see --eval)."
        elif run.checkpoint is None:
            left_out[run.name] = "Nothing was measured for this page: there is no checkpoint."
        else:
            say(f"{run.name}: measuring {run.checkpoint.name}")
            try:
                measured[run.name] = measure(run.checkpoint, options, keep=keep, progress=progress)
            except UserError as error:
                say(f"{run.name}: not measured: {error}")
                left_out[run.name] = f"Nothing was measured for this page: {error}."
    return measured, left_out
