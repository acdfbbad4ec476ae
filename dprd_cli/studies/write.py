"""The files of a study: `table.md`, `table.tex`, `table.csv`, `study.json` and `plot.png`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from dprd_cli.files.atomic import write_atomically
from dprd_cli.studies.figures import plot_study
from dprd_cli.studies.summary import Summary, runs_csv
from dprd_cli.studies.tables import (
    LEGEND,
    differences_table,
    document,
    latex,
    markdown,
    offsets_table,
    results_table,
)


def write_study(summary: Summary, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Write a study's tables and plot anew, each whole or not at all.

    Args:
        summary: Its numbers.
        folder: Where they go.
        settings: What all variants share, for the record.

    Returns:
        What `study.json` holds.

    Raises:
        ResourceError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = document(summary, settings)
    texts = {
        "table.md": _page(summary),
        "table.tex": _latex(summary),
        "table.csv": runs_csv(summary.study, summary.runs),
        "study.json": json.dumps(content, indent=2) + "\n",
    }
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write, text))
    if summary.runs and not summary.study.published:
        plot_study(summary, folder / "plot.png")
    return content


def write_costs(summary: Summary, folder: Path) -> None:
    """Write a table of costs: `costs.md` and `costs.tex`.

    Raises:
        ResourceError: If a file cannot be written.
    """
    table, title = results_table(summary), costs_caption(summary)
    texts = {"costs.md": f"# {title}\n\n{markdown(table)}", "costs.tex": latex(table, title)}
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write, text))


def costs_caption(summary: Summary) -> str:
    """Return what a table of costs is."""
    source = summary.study.source
    paper = f"; the paper's ({source}) are of R50-FPN on COCO, on the authors' machine" if source else ""
    return f"{summary.study.title}: inference of one image{paper}"


def caption(summary: Summary) -> str:
    """Return what the table is."""
    study = summary.study
    if study.published:
        return f"{study.title} ({study.source}); the rows below those measured here are the paper's"
    paper = f"; the paper's numbers ({study.source}) are of R50-FPN on COCO" if study.source else ""
    return f"{study.title}; mean ± sample standard deviation over seeds{paper}"


def _latex(summary: Summary) -> str:
    found = [(results_table(summary), caption(summary))]
    if table := differences_table(summary):
        found.append((table, f"{summary.study.title}: differences between rows. {LEGEND}"))
    if table := offsets_table(summary):
        found.append((table, f"{summary.study.title}: what learned part offsets are worth at test"))
    return "\n".join(latex(table, text) for table, text in found)


def _page(summary: Summary) -> str:
    study = summary.study
    parts = [f"# {study.name}: {study.title}\n", caption(summary) + ".\n", markdown(results_table(summary))]
    if table := differences_table(summary):
        parts += [markdown(table), LEGEND + "\n"]
    if table := offsets_table(summary):
        parts.append(markdown(table))
    if study.note:
        parts.append(study.note + "\n")
    return "\n".join(parts)


def _write(text: str, file: BinaryIO) -> None:
    file.write(text.encode())
