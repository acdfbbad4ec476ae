"""A study's tables on stdout."""

from __future__ import annotations

from dprd_cli.commands._tables import LiteralConsole, print_rows
from dprd_cli.studies.forecast import StudyForecast
from dprd_cli.studies.summary import StudySummary
from dprd_cli.studies.tables import (
    LEGEND,
    TextTable,
    caption,
    costs_caption,
    differences_table,
    offsets_table,
    results_table,
)


def print_study(summary: StudySummary) -> None:
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


def print_costs(summary: StudySummary) -> None:
    """Print what a study's variants cost."""
    console = LiteralConsole(soft_wrap=True)
    console.print(f"{summary.study.name}: {costs_caption(summary)}")
    _print(results_table(summary))


def print_forecast(forecast: StudyForecast) -> None:
    """Print what is left of a study."""
    console, plan = LiteralConsole(soft_wrap=True), forecast.plan
    console.print(
        f"{plan.study.name}: {plan.study.title}; {plan.config.train.steps} steps a run, into {plan.folder}"
    )
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
        for number, one in enumerate(forecast.variants, start=1)
    ]
    rows.append(("all", "", str(forecast.steps), "", "", "", duration(forecast.seconds)))
    print_rows("", ("done", "steps left", "params (M)", "MACs (G)", "s/step", "time left"), rows)
    height, width = forecast.image_size
    notes = [f"MACs: inference of one image of {height}x{width}."]
    left = [one for one in forecast.variants if one.left]
    if any(not one.measured and one.pace is not None for one in left):
        notes.append("~: a step timed now, from random weights; later ones may take up to 40 % longer.")
    if any(one.pace is None for one in left):
        notes.append("-: a step does not fit into memory.")
    if left:
        notes.append("Time: of the steps, without evaluations.")
    for line in notes:
        console.print(line)


def duration(seconds: float | None) -> str:
    """Return hours and minutes, or seconds where it is short."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _print(table: TextTable) -> None:
    print_rows(table.headings[0], table.headings[1:], list(table.rows))
