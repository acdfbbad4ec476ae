"""A study of parts: a row a variant, its numbers beside where its parts went in held-out images."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dprd_cli.drawing.style import BLUE, GREEN, GREY, ORANGE, RED
from dprd_cli.files.images import read_image
from dprd_cli.studies.held_out import HELD_OUT
from dprd_cli.studies.study import COLUMNS, Variant
from dprd_cli.studies.summary import StudySummary

_COLOURS = (BLUE, RED, GREEN, ORANGE)
_PERCENT = 100.0
_MOST_PIXELS = 2**24
_ROW, _NUMBERS, _STRIP = 1.75, 2.6, 6.7  # inches


def part_rows(summary: StudySummary) -> Figure:
    """Draw a row for each trained variant: its metrics as bars, seeds as dots, its first seed's images.

    Args:
        summary: With at least one run; the images of runs without any stay blank.
    """
    study, trained = summary.study, {run.variant for run in summary.runs}
    variants = [one for one in study.variants if one.key in trained and one.part_offsets == "learned"]
    figure = Figure(figsize=(_NUMBERS + _STRIP, _ROW * len(variants) + 0.4), dpi=150, layout="constrained")
    axes: NDArray[Any] = figure.subplots(len(variants), 2, squeeze=False, width_ratios=(_NUMBERS, _STRIP))
    for variant, (numbers, images) in zip(variants, axes, strict=True):
        _draw_numbers(numbers, summary, variant)
        _draw_images(images, summary, variant)
    figure.suptitle(study.title, fontsize=10)
    return figure


def _draw_numbers(axes: Axes, summary: StudySummary, variant: Variant) -> None:
    """Draw the metrics as bars from 0 to 100 with their numbers, and each seed as a dot."""
    for place, metric in enumerate(summary.metrics):
        found = summary.spread(variant.key, metric)
        if found is None:
            continue
        values = [_percent(metric, value) for value in found.values]
        mean = float(np.mean(values))
        axes.barh(place, mean, 0.7, color=_COLOURS[place % len(_COLOURS)], alpha=0.75)
        if len(values) > 1:
            axes.plot(values, [place] * len(values), "o", color="black", markersize=2.5, alpha=0.6)
        deviation = "" if found.sd is None else f" ± {_percent(metric, found.sd):.1f}"
        axes.text(max(mean, *values) + 2, place, f"{mean:.1f}{deviation}", va="center", fontsize=7)
    names = [COLUMNS.get(metric, metric) for metric in summary.metrics]
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set(xlim=(0, 140), ylim=(len(names) - 0.4, -0.6))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(GREY)
    seeds = {run.seed for run in summary.runs if run.variant == variant.key}
    note = f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
    axes.set_title(f"{variant.label} ({note}), %", fontsize=8.5, loc="left", fontweight="bold")


def _percent(metric: str, value: float) -> float:
    """Return a metric in percent: AP is already, shares are not."""
    return value if metric.startswith(("bbox_", "segm_", "voc_")) else _PERCENT * value


def _draw_images(axes: Axes, summary: StudySummary, variant: Variant) -> None:
    runs = sorted((run for run in summary.runs if run.variant == variant.key), key=lambda run: run.seed)
    files = [path for run in runs if (path := run.folder / HELD_OUT).is_file()]
    if files:
        axes.imshow(read_image(files[0], _MOST_PIXELS), interpolation="antialiased")
    axes.axis("off")
