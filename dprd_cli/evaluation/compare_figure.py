"""The figure of a comparison: the difference of each AP, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from dprd_cli.drawing.axes import tidy
from dprd_cli.drawing.style import BLACK, BLUE, GREY, RED
from dprd_cli.evaluation.curve_figures import KINDS, short

_LONGEST = 60
_COLOURS = {"bbox": BLUE, "segm": RED}


def comparison_figure(comparison: Mapping[str, Any], most: int = 40) -> Figure:
    """Draw the differences as points with intervals: totals first, then the AP of each class.

    A point is filled where its interval leaves zero out.

    Args:
        comparison: A `RunComparison`'s document.
        most: Draw the classes whose box AP differs most.
    """
    kinds = [kind for kind in KINDS if comparison[kind]]
    totals = [
        (f"{KINDS[kind]} {name}", {kind: one}) for kind in kinds for name, one in comparison[kind].items()
    ]
    known = [row for row in comparison["classes"] if row["bbox"]["AP"]["difference"] is not None]
    known.sort(key=lambda row: -abs(row["bbox"]["AP"]["difference"]))
    known = sorted(known[:most], key=lambda row: -row["bbox"]["AP"]["difference"])
    classes = [
        (f"AP of {short(row['name'])} ({row['objects']})", {kind: row[kind]["AP"] for kind in kinds})
        for row in known
    ]
    rows = totals + (classes if len(comparison["classes"]) > 1 else [])
    figure = Figure(figsize=(5.6, 1.1 + 0.26 * len(rows)), dpi=150, layout="constrained")
    axes = figure.subplots()
    for place, (_, found) in enumerate(rows):
        for number, (kind, one) in enumerate(found.items()):
            if one["difference"] is None:
                continue
            y, colour = place + 0.28 * (number - (len(found) - 1) / 2), _COLOURS[kind]
            if one["low"] is not None:
                axes.plot(
                    [one["low"], one["high"]], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt"
                )
            clear = one["low"] is not None and not one["low"] <= 0 <= one["high"]
            axes.plot([one["difference"]], [y], marker="o", markersize=4.5, color=colour, linestyle="none")
            axes.lines[-1].set_markerfacecolor(colour if clear else "white")
    axes.axvline(0, color=BLACK, linewidth=0.9)
    if len(rows) > len(totals):
        axes.axhline(len(totals) - 0.5, color=GREY, linewidth=0.6)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("AP of A less that of B, points (at the right A is better)", fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_title(_title(comparison), fontsize=8.5, loc="left")
    for kind in kinds if len(kinds) > 1 else ():
        axes.plot([], [], color=_COLOURS[kind], marker="o", markersize=4.5, label=KINDS[kind])
    if len(kinds) > 1:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5, borderaxespad=0
        )
    return figure


def _title(comparison: Mapping[str, Any]) -> str:
    how = (
        f"{comparison['interval']:g} % intervals, {comparison['resamples']} resamples of "
        f"{comparison['images']} images"
    )
    names = (f"{key.upper()}: {_end(comparison[key]['run'])}" for key in "ab")
    return "\n".join((*names, how))


def _end(text: str) -> str:
    """Return the end of a path, which tells more than its beginning."""
    return text if len(text) <= _LONGEST else f"…{text[-_LONGEST:]}"
