"""A study's tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dprd_cli.commands._tables import LiteralConsole, print_rows
from dprd_cli.studies.summary import Summary
from dprd_cli.studies.tables import (
    LEGEND,
    TextTable,
    differences_table,
    offsets_table,
    results_table,
)
from dprd_cli.studies.write import caption, costs_caption

if TYPE_CHECKING:
    from dprd_cli.studies.costs import Forecast


def print_study(summary: Summary) -> None:
    """Print a study's table, what learned offsets are worth, and the comparisons in words."""
    console = LiteralConsole(soft_wrap=True)
    console.print(f"{summary.study.name}: {caption(summary)}")
    _print(results_table(summary))
    if table := differences_table(summary):
        _print(table)
        console.print(LEGEND + "\n")
    if table := offsets_table(summary):
        _print(table)
    if summary.study.note:
        console.print(summary.study.note)


def print_costs(summary: Summary) -> None:
    """Print what a study's variants cost."""
    console = LiteralConsole(soft_wrap=True)
    console.print(f"{summary.study.name}: {costs_caption(summary)}")
    _print(results_table(summary))


def print_forecast(title: str, found: Sequence[Forecast], size: tuple[int, int]) -> None:
    """Print what is left of a study."""
    console = LiteralConsole(soft_wrap=True)
    console.print(title)
    rows: list[tuple[str, ...]] = [
        (
            f"{number} {one.label}",
            f"{len(one.done)} of {len(one.done) + len(one.left)}",
            str(sum(one.left.values())),
            f"{one.parameters:.1f}",
            f"{one.macs:.{1 if one.macs >= 10 else 2}f}",
            "-" if one.pace is None else f"{'' if one.measured else '~'}{one.pace:.2f}",
            duration(one.seconds),
        )
        for number, one in enumerate(found, start=1)
    ]
    total = [one.seconds for one in found]
    seconds = None if None in total else sum(second for second in total if second is not None)
    steps = str(sum(sum(one.left.values()) for one in found))
    rows.append(("all", "", steps, "", "", "", duration(seconds)))
    headings = ("done", "steps left", "params (M)", "MACs (G)", "s/step", "time left")
    print_rows("", headings, rows)
    console.print(f"MACs: inference of one image of {size[0]}x{size[1]}.")
    if any(one.pace is None for one in found):
        console.print("Time: known once a run here has made its first steps.")
    elif not all(one.measured for one in found):
        console.print(
            "~: the pace of a measured variant, scaled by MACs. Without evaluations.",
        )


def duration(seconds: float | None) -> str:
    """Return hours and minutes."""
    if seconds is None:
        return "-"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _print(table: TextTable) -> None:
    print_rows(table.headings[0], table.headings[1:], list(table.rows))
