"""The curves of a training: losses, AP and proposal recall, and what the parts do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dprd_cli.drawing.axes import grow_by_factors, over_steps, plain_numbers, tidy
from dprd_cli.drawing.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, save_figure

Row = dict[str, Any]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

#: Group of losses -> the pattern of its keys (first match wins), its label and colour.
LOSSES: tuple[tuple[str, str, str], ...] = (
    (r"loss_part_", "part losses", ORANGE),
    (r"loss_(cls|class)", "class", GREEN),
    (r"loss_(box|reg)", "box", RED),
    (r"loss_(mask_iou|miou)", "MaskIoU", SKY),
    (r"loss_mask", "mask", PURPLE),
    (r"loss_rpn_", "RPN", BLUE),
)

AP_LINES = (
    ("bbox_AP", "box AP", BLUE, "-"),
    ("bbox_AP50", "box AP50", BLUE, ":"),
    ("segm_AP", "mask AP", RED, "-"),
    ("segm_AP50", "mask AP50", RED, ":"),
)
#: A line of no more points than these shows each of them.
FEW_POINTS = 12
RECALL_LINES = (("recall50", "IoU 0.5", GREEN, "-"), ("recall70", "IoU 0.7", PURPLE, "-"))


def plot_training(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `loss.png`, `ap.png` and `parts.png`, each where there is something to draw.

    Args:
        rows: Rows of `metrics.jsonl`; missing and null values are left out.
        folder: Where the figures go.

    Returns:
        The files written.

    Raises:
        ResourceError: If a file cannot be written.
    """
    makers = {
        "loss.png": (_losses, "losses of the training"),
        "ap.png": (_accuracy, "evaluation"),
        "parts.png": (_parts, "what the parts do"),
    }
    written = []
    for name, (make, title) in makers.items():
        figure = make(rows)
        if figure is not None:
            figure.suptitle(f"{folder.resolve().name}: {title}", x=0.01, ha="left", fontsize=11)
            save_figure(figure, folder / name)
            written.append(folder / name)
    return written


def plot_lr_range(points: Sequence[Row], marks: Mapping[str, float | None], path: Path) -> None:
    """Draw a learning-rate range test: the loss over the rate, and rates of interest.

    Args:
        points: `lr`, `loss` and `smoothed` of each step.
        marks: Label -> rate; the first one is drawn boldly, those that are None not at all.
        path: The PNG file.

    Raises:
        ResourceError: If it cannot be written.
    """
    figure = Figure(figsize=(7.2, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    rates = [point["lr"] for point in points]
    smoothed = [point["smoothed"] for point in points]
    axes.plot(rates, [point["loss"] for point in points], color=BLACK, alpha=0.22, linewidth=0.8)
    axes.plot(rates, smoothed, color=BLACK, linewidth=1.8, label="loss, smoothed")
    styles = ((GREEN, "-", 2.0), (BLUE, ":", 1.5), (RED, ":", 1.5))
    for (label, rate), (colour, style, width) in zip(marks.items(), styles, strict=False):
        if rate is not None:
            text = f"{label}, {rate:.2g}"
            axes.axvline(rate, color=colour, linestyle=style, linewidth=width, label=text)
    axes.set_xscale("log")
    if smoothed:
        low, high = min(smoothed), max(smoothed[0], min(smoothed))
        axes.set_ylim(low - 0.1 * (high - low) - 1e-6, high + 0.6 * (high - low) + 1e-6)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    tidy(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0)
    save_figure(figure, path)


def curve(rows: Sequence[Row], key: str) -> Curve:
    """Return the (steps, values) of a key, without the rows that lack it."""
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over a centred window of about a twentieth of the points, shorter at the ends. [n] -> [n]."""
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(half, np.minimum(index, len(values) - 1 - index))
    return np.asarray((sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1))


def group_losses(rows: Sequence[Row]) -> dict[str, Curve]:
    """Sum each row's losses over stages and kinds into the groups of `LOSSES`; empty groups are left out."""
    keys = {key for row in rows for key in row if key.startswith("loss_")}
    groups: dict[str, list[str]] = {}
    for key in sorted(keys):
        label = next((label for pattern, label, _ in LOSSES if re.match(pattern, key)), "other")
        groups.setdefault(label, []).append(key)
    curves = {}
    for label in [label for _, label, _ in LOSSES] + ["other"]:
        members = groups.get(label, [])
        summed = [
            {"step": row["step"], "sum": sum(row.get(key) or 0.0 for key in members)}
            for row in rows
            if any(row.get(key) is not None for key in members)
        ]
        if summed:
            curves[label] = curve(summed, "sum")
    return curves


def _losses(rows: Sequence[Row]) -> Figure | None:
    train = [row for row in rows if row.get("loss") is not None]
    if not train:
        return None
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes, rate = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    steps, values = curve(train, "loss")
    axes.plot(steps, values, color=BLACK, alpha=0.18, linewidth=0.8)
    _draw(axes, (steps, smooth(values)), "total", BLACK, width=2.0)
    colours = {label: colour for _, label, colour in LOSSES}
    for label, (steps, values) in group_losses(train).items():
        _draw(axes, (steps, smooth(values)), label, colours.get(label, "#777777"))
    grow_by_factors(axes)
    _finish(axes, "loss (summed over stages)", rows)
    _draw(rate, curve(train, "lr"), "learning rate", BLUE)
    plain_numbers(rate)
    rate.set_ylim(bottom=0)
    _finish(rate, "learning rate", rows, legend=False)
    rate.set_xlabel("optimiser step")
    return figure


def _accuracy(rows: Sequence[Row]) -> Figure | None:
    panels = (("AP (%)", AP_LINES), ("recall of 100 proposals", RECALL_LINES))
    if not any(len(curve(rows, key)[0]) for _, lines in panels for key, *_ in lines):
        return None
    figure = Figure(figsize=(7.2, 5.2), dpi=150, layout="constrained")
    both: NDArray[Any] = figure.subplots(2, 1, sharex=True)
    for axes, (label, lines) in zip(both, panels, strict=True):
        for key, name, colour, style in lines:
            _draw(axes, curve(rows, key), name, colour, style=style, marker="o")
        _finish(axes, label, rows)
    both[0].set_ylim(0, max(1.0, both[0].get_ylim()[1]))
    both[1].set_ylim(0, 1.02)
    both[1].set_xlabel("optimiser step")
    return figure


def _parts(rows: Sequence[Row]) -> Figure | None:
    train = [row for row in rows if row.get("bbox_AP") is None]
    if not len(curve(train, "part_iou")[0]):
        return None
    figure = Figure(figsize=(7.2, 6.6), dpi=150, layout="constrained")
    overlap, share, gradient = figure.subplots(3, 1, sharex=True)
    _smoothed(overlap, curve(train, "part_iou"), "in training", ORANGE)
    tested = [row for row in rows if row.get("bbox_AP") is not None]
    _draw(overlap, curve(tested, "part_iou"), "of detections", BLACK, marker="o")
    _finish(overlap, "IoU of deformed with\nreference parts", rows)
    overlap.set_ylim(min(0.9, overlap.get_ylim()[0]), 1.01)
    _smoothed(share, curve(train, "part_fallback"), "fell back to reference\n(IoU below sigma)", RED)
    _smoothed(share, curve(train, "comb_parts_win"), "parts win the max\nof the fusion", GREEN)
    _finish(share, "share", rows)
    share.set_ylim(0, max(0.1, share.get_ylim()[1]))
    _smoothed(gradient, curve(train, "part_grad_norm"), "part layer", ORANGE)
    _smoothed(gradient, curve(train, "grad_norm"), "all other layers", BLUE)
    grow_by_factors(gradient)
    _finish(gradient, "gradient norm\nbefore clipping", rows)
    gradient.set_xlabel("optimiser step")
    return figure


def _smoothed(axes: Axes, points: Curve, label: str, colour: str) -> None:
    steps, values = points
    if len(steps):
        axes.plot(steps, values, color=colour, alpha=0.22, linewidth=0.8)
        _draw(axes, (steps, smooth(values)), label, colour)


def _draw(
    axes: Axes,
    points: Curve,
    label: str,
    colour: str,
    *,
    width: float = 1.5,
    style: str = "-",
    marker: str = "",
) -> None:
    steps, values = points
    if len(steps):
        marker = marker or ("o" if len(steps) <= FEW_POINTS else "")
        (line,) = axes.plot(steps, values, color=colour, label=label, linewidth=width, linestyle=style)
        line.set(marker=marker, markersize=4.0 if len(steps) == 1 else 3.0, clip_on=False, zorder=3)


def _finish(axes: Axes, label: str, rows: Sequence[Row], *, legend: bool = True) -> None:
    axes.set_ylabel(label)
    over_steps(axes, max(row["step"] for row in rows))
    tidy(axes)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0)
