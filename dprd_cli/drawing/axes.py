"""Axes that people can read: plain numbers, whole steps, a logarithm only where it shows something."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from dprd_cli.drawing.style import GRID

_WORTH_A_LOGARITHM = 4.0  # times the smallest value
_SERIES = ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))  # ticks of a decade; of less than one
_MOST_TICKS = 10


def over_steps(axes: Axes, last: float = 0.0, *, ticks: int = 8) -> None:
    """Make the x axis one of optimiser steps, from 0.

    Args:
        axes: What was drawn on.
        last: The run's last step; by default as far as there are points.
        ticks: At most so many.
    """
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(0, 1.02 * last if last else None)


def grow_by_factors(axes: Axes) -> None:
    """Make the y axis logarithmic where the values drawn span enough, with plain numbers on it."""
    drawn = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    values = np.concatenate([np.zeros(0), *drawn])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values) or values.max() < _WORTH_A_LOGARITHM * values.min():
        axes.set_ylim(bottom=0)
        return
    low, high = values.min() / 1.15, values.max() * 1.15
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(readable_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def readable_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` to `high`, a few of them, evenly spread on a logarithmic axis."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    within = [
        [digit * 10.0**power for power in range(first, last + 1) for digit in series]
        for series in ((1.0,), *_SERIES)
    ]
    found = [[tick for tick in ticks if low <= tick <= high] for ticks in within]
    decades, thirds, finer = found
    if len(thirds) < 3:
        return finer
    if len(thirds) <= _MOST_TICKS:
        return thirds
    return decades[:: -(-len(decades) // _MOST_TICKS)]


def tidy(axes: Axes) -> None:
    """Draw a light grid behind what is drawn, and no frame at the top and the right."""
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plain_numbers(axes: Axes) -> None:
    """Write the y axis' numbers out (0.0005), without a factor in the corner."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
