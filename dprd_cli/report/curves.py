"""Training curves of one run, or of several in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dprd_cli.drawing.axes import grow_by_factors, over_steps, plain_numbers, tidy
from dprd_cli.drawing.curves import (
    AP_LINES,
    FEW_POINTS,
    LOSSES,
    RECALL_LINES,
    Curve,
    curve,
    group_losses,
    smooth,
)
from dprd_cli.drawing.style import BLACK, BLUE, COLOURS, GREEN, GREY, ORANGE, RED

_POINTS = 300  # a line has no more
_WIDTH = 4.3  # of a figure, inches
_SYMBOL, _LETTER = 0.55, 0.073  # of a legend's entry, inches
_MOST_LETTERS = 44  # longer names are shortened in the middle
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True)
class Line:
    """A curve and how it is drawn; `noisy` ones are smoothed, over a faint original where alone."""

    points: Curve
    label: str
    colour: str
    style: str = "-"
    noisy: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: its title, what its axis says, and its lines."""

    title: str
    axis: str
    lines: tuple[Line, ...]
    logarithmic: bool = False
    top: float | None = None

    def alt(self) -> str:
        """Say in words where each line starts and ends."""
        told = []
        for line in self.lines:
            (steps, values) = line.points
            told.append(
                f"{line.label} {values[0]:.3g} at step {steps[0]:.0f}, "
                f"{values[-1]:.3g} at step {steps[-1]:.0f}"
            )
        return f"{self.title} during training: {'; '.join(told)}"


def run_panels(rows: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return the panels of one run that have something to show.

    Args:
        rows: Rows of `metrics.jsonl`.
    """
    train = [row for row in rows if row["kind"] == "train"]
    tests = [row for row in rows if row["kind"] == "eval"]
    colours = {label: colour for _, label, colour in LOSSES}
    losses = [Line(curve(train, "loss"), "total", BLACK, noisy=True)]
    losses += [
        Line(points, label, colours.get(label, GREY), noisy=True)
        for label, points in group_losses(train).items()
    ]
    overlap = (
        Line(curve(train, "part_iou"), "in training", ORANGE, noisy=True),
        Line(curve(tests, "part_iou"), "of detections", BLACK),
    )
    shares = (
        Line(curve(train, "part_fallback"), "fell back (IoU below sigma)", RED, noisy=True),
        Line(curve(train, "comb_parts_win"), "parts win the fusion's max", GREEN, noisy=True),
    )
    norms = (
        Line(curve(train, "grad_norm"), "all other layers", BLUE, noisy=True),
        Line(curve(train, "part_grad_norm"), "part layer", ORANGE, noisy=True),
    )
    return _filled(
        Panel("Loss", "loss, summed over stages", tuple(losses), logarithmic=True),
        Panel("AP", "AP (%)", _lines(tests, AP_LINES), top=100),
        Panel(
            "Proposal recall",
            "recall of 100 proposals",
            _lines(tests, RECALL_LINES),
            top=1.0,
        ),
        Panel("Part IoU", "IoU with the reference parts", overlap, top=1.0),
        Panel("Fallbacks and fusion", "share", shares),
        Panel("Gradient norms", "norm before clipping", norms, logarithmic=True),
        Panel("Learning rate", "learning rate", (Line(curve(train, "lr"), "learning rate", BLUE),)),
    )


def compared_panels(runs: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> list[Panel]:
    """Return the panels of several runs, a line each.

    Args:
        runs: Names, and rows of `metrics.jsonl`.
    """
    wanted = (
        ("Loss", "total loss", "train", "loss", True, None),
        ("Box AP", "box AP (%)", "eval", "bbox_AP", False, 100.0),
        ("Mask AP", "mask AP (%)", "eval", "segm_AP", False, 100.0),
        ("Proposal recall", "recall at IoU 0.7", "eval", "recall70", False, 1.0),
        ("Part IoU", "IoU with the reference parts", "train", "part_iou", False, 1.0),
        ("Fallbacks", "share below sigma", "train", "part_fallback", False, None),
        ("Gradient norm of the part layer", "norm before clipping", "train", "part_grad_norm", True, None),
    )
    panels = []
    for title, axis, kind, key, logarithmic, top in wanted:
        lines = [
            Line(
                curve([row for row in rows if row["kind"] == kind], key),
                name,
                run_colour(number),
                _STYLES[number // len(COLOURS) % len(_STYLES)],
                noisy=kind == "train",
            )
            for number, (name, rows) in enumerate(runs)
        ]
        panels.append(Panel(title, axis, tuple(lines), logarithmic, top))
    return _filled(*panels)


def run_colour(number: int) -> str:
    """Return the colour of the page's run of that number."""
    return COLOURS[number % len(COLOURS)]


def _filled(*panels: Panel) -> list[Panel]:
    """Return the panels that have points, without the lines that have none."""
    kept = []
    for panel in panels:
        lines = tuple(line for line in panel.lines if len(line.points[0]))
        if lines:
            kept.append(Panel(panel.title, panel.axis, lines, panel.logarithmic, panel.top))
    return kept


def draw(panel: Panel) -> Figure:
    """Draw a panel, its legend below."""
    columns = legend_columns([line.label for line in panel.lines])
    rows = -(-len(panel.lines) // columns) if len(panel.lines) > 1 else 0
    figure = Figure(figsize=(_WIDTH, 2.75 + 0.18 * rows), layout="constrained")
    axes = figure.subplots()
    for line in panel.lines:
        _draw(axes, line, alone=len(panel.lines) == 1 or line.colour == BLACK)
    plain_numbers(axes)
    if panel.logarithmic and any((line.points[1] > 0).any() for line in panel.lines):
        grow_by_factors(axes)
    elif not any(line.points[1].any() for line in panel.lines):
        axes.set_ylim(-0.03, 1)  # a line of zeros is to be seen
    elif panel.top is not None:
        values = np.concatenate([line.points[1] for line in panel.lines])
        lowest = float(values.min())
        bottom = 0.0 if lowest < 0.6 * panel.top else min(lowest - 0.01 * panel.top, 0.9 * panel.top)
        axes.set_ylim(bottom, min(panel.top, 1.15 * float(values.max())))
    else:
        axes.set_ylim(bottom=0)
    axes.set(xlabel="optimiser step", ylabel=panel.axis)
    over_steps(axes, max(line.points[0][-1] for line in panel.lines), ticks=6)
    tidy(axes)
    axes.tick_params(labelsize=8.5)
    if rows:
        figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5)
    return figure


def legend_columns(labels: Sequence[str]) -> int:
    """Return how many columns of a legend stay inside the figure."""
    widest = _SYMBOL + _LETTER * max(min(len(label), _MOST_LETTERS) for label in labels)
    return min(3, max(1, int(_WIDTH / widest)))


def _lines(rows: Sequence[dict[str, Any]], keys: Sequence[tuple[str, str, str, str]]) -> tuple[Line, ...]:
    """Return the lines of (key, label, colour, style)."""
    return tuple(Line(curve(rows, key), label, colour, style) for key, label, colour, style in keys)


def _fitting(label: str) -> str:
    half = _MOST_LETTERS // 2
    return label if len(label) <= _MOST_LETTERS else f"{label[: half - 1]}…{label[-half:]}"


def _draw(axes: Axes, line: Line, *, alone: bool) -> None:
    steps, values = line.points
    if line.noisy and alone:
        axes.plot(*_thin(steps, values), color=line.colour, alpha=0.22, linewidth=0.8)
    if line.noisy:
        values = smooth(values)
    marker = "o" if len(steps) <= FEW_POINTS or (not line.noisy and len(steps) <= 30) else ""
    x, y = _thin(steps, values)
    width = 2.0 if line.colour == BLACK else 1.5
    (drawn,) = axes.plot(x, y, linewidth=width, marker=marker, markersize=3.5, label=_fitting(line.label))
    drawn.set(color=line.colour, linestyle=line.style, clip_on=False, zorder=3)


def _thin(steps: np.ndarray, values: np.ndarray) -> Curve:
    """Leave out points where there are more than a figure can show; the last one stays."""
    every = -(-len(steps) // _POINTS)
    index = np.arange(len(steps))[::-1][::every][::-1]
    return steps[index], values[index]
