"""The figure of where parts are that choose among places: a map of the places for each part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dprd_cli.drawing.style import BLACK, ORANGE

_COLUMNS = 4
_WRITTEN = 0.005  # of the objects, from which a place is worth a number


def tells_places(statistics: Mapping[str, Any] | None) -> bool:
    """Whether it is known at which places parts are, from a `PartDeformation` as JSON."""
    return bool((statistics or {}).get("places"))


def places_figure(statistics: Mapping[str, Any]) -> Figure:
    """Draw a map of the places for each part: how often it is there, over all classes.

    Args:
        statistics: A `PartDeformation` as JSON, of which `tells_places`.
    """
    places = statistics["places"]
    parts = places["all"]["per_part"]
    columns = min(_COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    figure = Figure(figsize=(1.95 * columns + 0.5, 2.25 * rows + 0.25), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one, part in zip(axes.flat, parts, strict=False):
        _draw(one, places["shifts"], part)
    for one in axes.flat[len(parts) :]:
        one.axis("off")
    figure.supxlabel("shift from the reference part (framed), in sizes of the object", fontsize=7.5)
    return figure


def _draw(axes: Axes, shifts: list[list[float]], part: Mapping[str, Any]) -> None:
    """Draw one part's map; sizes at one place count together."""
    xs, ys = (sorted({shift[axis] for shift in shifts}) for axis in (0, 1))
    shares = np.zeros((len(ys), len(xs)))
    for (x, y, _), share in zip(shifts, part["shares"], strict=True):
        shares[ys.index(y), xs.index(x)] += share
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if share >= _WRITTEN:
            ink = "white" if share > 0.55 else BLACK
            axes.text(column, row, f"{100 * share:.0f} %", ha="center", va="center", fontsize=7.5, color=ink)
    middle = xs.index(0.0) - 0.5, ys.index(0.0) - 0.5
    axes.add_patch(Rectangle(middle, 1, 1, fill=False, edgecolor=ORANGE, linewidth=1.6))
    axes.set_xticks(range(len(xs)), [f"{x:+g}" if x else "0" for x in xs], fontsize=7)
    axes.set_yticks(range(len(ys)), [f"{y:+g}" if y else "0" for y in ys], fontsize=7)
    axes.tick_params(length=0)
    axes.spines[:].set_color("#bbbbbb")
    axes.set_title(
        f"{part['part']}\nentropy {part['entropy']:.2f}, steady {100 * part['steadiness']:.0f} %", fontsize=8
    )
