"""The figure of which part decided: who won the assembly's maxima, and what the score loses without each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dprd_cli.drawing.style import BLUE, GREEN, ORANGE, PURPLE, RED, SKY
from dprd_cli.structures.part_names import WHOLE, part_letters

_COLOURS, _GREY = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY), "#9a9a9a"
_LONGEST_NAME = 18
_WRITTEN = 0.06  # of all maxima, from which a bar has room for its letter


def tells_parts(statistics: Mapping[str, Any] | None) -> bool:
    """Whether it is known which part decided, from a `PartDeformation` as JSON."""
    total = (statistics or {}).get("all") or {}
    return (total.get("whole") or {}).get("fall") is not None


def deciding_figure(statistics: Mapping[str, Any], most: int = 12) -> Figure:
    """Draw the shares of the maxima as bars, and the falls of the score beside them as numbers.

    Args:
        statistics: A `PartDeformation` as JSON, of which `tells_parts`.
        most: Draw the classes with the most objects.
    """
    groups = [*statistics["classes"][:most], statistics["all"] | {"name": "all classes"}]
    signs = [*part_letters(len(statistics["parts"])), WHOLE]
    colours = [*(_COLOURS[number % len(_COLOURS)] for number in range(len(signs) - 1)), _GREY]
    rows = [[*group["per_part"], group["whole"]] for group in groups]
    falls = np.array([[role["fall"] for role in row] for row in rows], dtype=float)  # [G, P+1]
    shares = np.array([[role["share"] for role in row] for row in rows], dtype=float)
    width, height = 5.2 + 0.42 * len(signs), 0.9 + 0.3 * len(groups)
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    bars, table = figure.subplots(1, 2, sharey=True, width_ratios=(3.2, 0.42 * len(signs)))
    lefts = np.cumsum(shares, axis=1) - shares
    for number, (sign, colour) in enumerate(zip(signs, colours, strict=True)):
        bars.barh(range(len(groups)), shares[:, number], left=lefts[:, number], color=colour, height=0.72)
        for place, (left, share) in enumerate(zip(lefts[:, number], shares[:, number], strict=True)):
            if share >= (1.6 if sign == WHOLE else 1.0) * _WRITTEN:
                bars.text(
                    left + share / 2, place, sign, ha="center", va="center", fontsize=7.5, color="white"
                )
    bars.set(xlim=(0, 1), title="share of the maxima won")
    bars.set_yticks(range(len(groups)), [_label(group) for group in groups], fontsize=8)
    largest = max(0.05, float(np.nanmax(np.abs(falls), initial=0.0)))
    places = np.arange(len(signs)), np.arange(len(groups))
    table.pcolormesh(
        *places, falls, cmap="PuOr_r", vmin=-largest, vmax=largest, alpha=0.85, shading="nearest"
    )
    for place, row in enumerate(falls):
        for number, fall in enumerate(row):
            if np.isnan(fall):
                continue
            text = f"{-fall:+.2f}".replace("-", "\N{MINUS SIGN}") if abs(fall) >= 0.005 else "0"
            ink = "white" if abs(fall) > 0.7 * largest else "black"
            bold = "bold" if fall == np.nanmax(row) and fall >= 0.005 else "normal"
            table.text(number, place, text, ha="center", va="center", fontsize=7, color=ink, weight=bold)
    table.set_xticks(range(len(signs)), signs, fontsize=8)
    table.xaxis.tick_top()
    table.set_xlabel("change of the score without it", fontsize=8)
    table.tick_params(length=0)
    table.spines[:].set_visible(False)
    bars.set_ylim(len(groups) - 0.5, -0.5)
    bars.axhline(len(groups) - 1.5, color="black", linewidth=0.6)
    bars.spines[["top", "right", "left"]].set_visible(False)
    bars.tick_params(axis="both", length=0, labelsize=8)
    bars.title.set_fontsize(9)
    return figure


def _label(group: Mapping[str, Any]) -> str:
    name = str(group["name"])
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return f"{short} ({group['objects']})"
