"""The files of a study: `table.md`, `table.tex`, `table.csv`, `study.json` and `plot.png`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from dprd_cli.checkpoint import write_atomically
from dprd_cli.evaluation.study_formats import (
    LEGEND,
    differences_table,
    document,
    latex,
    markdown,
    offsets_table,
    results_table,
)
from dprd_cli.evaluation.study_plots import plot_study
from dprd_cli.evaluation.study_tables import Summary, runs_csv


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
        "table.tex": latex(results_table(summary), caption(summary)),
        "table.csv": runs_csv(summary.study, summary.runs),
        "study.json": json.dumps(content, indent=2) + "\n",
    }
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write, text))
    if summary.runs:
        plot_study(summary, folder / "plot.png")
    return content


def caption(summary: Summary) -> str:
    """Return what the table is."""
    study = summary.study
    source = f" ({study.source} of the paper, on R50-FPN and COCO)" if study.source else ""
    return f"{study.title}{source}; mean and sample standard deviation over seeds"


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
