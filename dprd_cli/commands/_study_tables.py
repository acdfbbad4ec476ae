"""A study's tables on stdout."""

from __future__ import annotations

from rich.console import Console

from dprd_cli.commands._tables import print_rows
from dprd_cli.evaluation.study_files import caption
from dprd_cli.evaluation.study_formats import (
    LEGEND,
    TextTable,
    differences_table,
    offsets_table,
    results_table,
)
from dprd_cli.evaluation.study_tables import Summary


def print_study(summary: Summary) -> None:
    """Print a study's table, what learned offsets are worth, and the comparisons in words."""
    console = Console(highlight=False)
    console.print(f"{summary.study.name}: {caption(summary)}", markup=False)
    _print(results_table(summary))
    if table := differences_table(summary):
        _print(table)
        console.print(LEGEND + "\n", markup=False)
    if table := offsets_table(summary):
        _print(table)
    if summary.study.note:
        console.print(summary.study.note, markup=False)


def _print(table: TextTable) -> None:
    print_rows(table.headings[0], table.headings[1:], list(table.rows))
