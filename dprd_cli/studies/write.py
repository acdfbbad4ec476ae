"""The files of a study: `table.md`, `table.tex`, `table.csv`, `study.json` and `plot.png`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from dprd_cli.files.atomic import csv_cell, write_atomically
from dprd_cli.studies.figures import plot_study
from dprd_cli.studies.study import Study
from dprd_cli.studies.summary import StudyRun, StudySummary
from dprd_cli.studies.tables import (
    LEGEND,
    caption,
    costs_caption,
    differences_table,
    latex,
    markdown,
    offsets_table,
    results_table,
)


def write_study(summary: StudySummary, folder: Path) -> None:
    """Write a study's tables and plot anew, each whole or not at all.

    Args:
        summary: Its numbers.
        folder: Where they go.

    Raises:
        ResourceError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_texts(
        folder,
        {
            "table.md": _page(summary),
            "table.tex": _latex(summary),
            "table.csv": runs_csv(summary.study, summary.runs),
            "study.json": json.dumps(summary.to_json(), indent=2) + "\n",
        },
    )
    if summary.runs and not summary.study.published:
        plot_study(summary, folder / "plot.png")


def write_costs(summary: StudySummary, folder: Path) -> None:
    """Write a table of costs: `costs.md` and `costs.tex`.

    Raises:
        ResourceError: If a file cannot be written.
    """
    table, title = results_table(summary), costs_caption(summary)
    _write_texts(folder, {"costs.md": f"# {title}\n\n{markdown(table)}", "costs.tex": latex(table, title)})


def _write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write, text))


def _write(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def runs_csv(study: Study, runs: Sequence[StudyRun]) -> str:
    """Return one line a run, with all its metrics."""
    columns = dict.fromkeys(key for run in runs for key in run.metrics)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["study", "variant", "seed", "folder", *columns])
    for run in runs:
        values = [run.metrics.get(key, "") for key in columns]
        writer.writerow([*map(csv_cell, (study.name, run.variant, run.seed, str(run.folder))), *values])
    return text.getvalue()


def _latex(summary: StudySummary) -> str:
    found = [(results_table(summary), caption(summary))]
    if table := differences_table(summary):
        found.append((table, f"{summary.study.title}: differences between rows. {LEGEND}"))
    if table := offsets_table(summary):
        found.append((table, f"{summary.study.title}: what learned part offsets are worth at test"))
    return "\n".join(latex(table, text) for table, text in found)


def _page(summary: StudySummary) -> str:
    study = summary.study
    parts = [f"# {study.name}: {study.title}\n", caption(summary) + ".\n", markdown(results_table(summary))]
    if table := differences_table(summary):
        parts += [markdown(table), LEGEND + "\n"]
    if table := offsets_table(summary):
        parts.append(markdown(table))
    if study.note:
        parts.append(study.note + "\n")
    return "\n".join(parts)
