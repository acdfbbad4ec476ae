"""Plots of studies: bars, curves as in Fig. 4, rows of images; the paper has axes of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dprd_cli.drawing.style import BLUE, GREEN, ORANGE, RED, save_figure
from dprd_cli.studies.part_rows import part_rows
from dprd_cli.studies.study import COLUMNS, Variant
from dprd_cli.studies.summary import StudySummary

_COLOURS = (BLUE, RED, GREEN, ORANGE)


def plot_study(summary: StudySummary, path: Path) -> None:
    """Draw a study.

    Args:
        summary: With at least one run.
        path: PNG file.

    Raises:
        ResourceError: If it cannot be written.
    """
    draw = {"bars": _bars, "curve": _curves, "parts": part_rows}[summary.study.plot]
    save_figure(draw(summary), path)


def _bars(summary: StudySummary) -> Figure:
    """Draw a group of bars a variant, with the seeds as dots; the paper's in a panel below."""
    study = summary.study
    metrics = [m for m in summary.metrics if m in ("bbox_AP", "segm_AP")] or list(summary.metrics)[:2]
    published = [m for m in metrics if any(m in variant.paper for variant in study.variants)]
    panels = 2 if published else 1
    width = max(6.4, 1.3 * len(study.variants) + 1.6)
    figure = Figure(figsize=(width, 3.0 * panels + 0.8), dpi=150, layout="constrained")
    axes: NDArray[Any] = np.atleast_1d(figure.subplots(panels, 1, sharex=True))
    for number, metric in enumerate(metrics):
        spreads = {v.key: found for v in study.variants if (found := summary.spread(v.key, metric))}
        bars = {key: _Bar(found.mean, found.sd, max(found.values)) for key, found in spreads.items()}
        places = _draw_bars(axes[0], study.variants, metric, bars, number=number, count=len(metrics))
        for variant, place in zip(study.variants, places, strict=True):
            values = list(summary.of(variant.key, metric).values())
            axes[0].plot([place] * len(values), values, "o", color="black", markersize=3, alpha=0.6, zorder=4)
    _finish(axes[0], f"measured, % (mean ± deviation of {_seeds(summary)})")
    for number, metric in enumerate(published):
        papers = {v.key: _Bar(v.paper[metric]) for v in study.variants if metric in v.paper}
        _draw_bars(axes[1], study.variants, metric, papers, number=number, count=len(published))
    if published:
        _finish(axes[1], "paper, % (R50-FPN, COCO)", legend=False)
    labels = [_broken(variant.label) for variant in study.variants]
    axes[-1].set_xticks(range(len(labels)), labels, fontsize=8)
    axes[0].set_title(study.title + (f" ({study.source})" if study.source else ""), fontsize=10)
    return figure


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar: its height, the deviation drawn over it, and the highest dot on it."""

    height: float
    sd: float | None = None
    highest: float = -math.inf

    @property
    def top(self) -> float:
        """Where its number may stand without covering anything."""
        return max(self.highest, self.height + (self.sd or 0))


def _draw_bars(
    axes: Axes,
    variants: tuple[Variant, ...],
    metric: str,
    bars: Mapping[str, _Bar],
    *,
    number: int,
    count: int,
) -> list[float]:
    """Draw the bars of one metric, the `number`-th of `count`; return each variant's place."""
    width = 0.8 / count
    places = [index + (number - (count - 1) / 2) * width for index in range(len(variants))]
    here = [(place, bars[v.key]) for place, v in zip(places, variants, strict=True) if v.key in bars]
    axes.bar(
        [place for place, _ in here],
        [bar.height for _, bar in here],
        width * 0.94,
        color=_COLOURS[number % len(_COLOURS)],
        alpha=0.75,
        label=COLUMNS.get(metric, metric),
    )
    spreads = [(place, bar.height, bar.sd) for place, bar in here if bar.sd is not None]
    if spreads:
        x, y, sd = zip(*spreads, strict=True)
        axes.errorbar(x, y, yerr=sd, fmt="none", ecolor="black", capsize=4, linewidth=1.2, zorder=5)
    for place, bar in here:
        axes.annotate(
            f"{bar.height:.1f}",
            (place, bar.top),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
        )
    return places


def _curves(summary: StudySummary) -> Figure:
    """Draw each metric over the value that the variants set: a panel a metric, a curve a backbone."""
    study = summary.study
    key, groups = curve_groups(study.variants)
    metrics = summary.metrics
    published = any(variant.paper for variant in study.variants)
    rows = 2 if published else 1
    figure = Figure(figsize=(4.4 * len(metrics), 3.1 * rows + 0.3), dpi=150, layout="constrained")
    axes: NDArray[Any] = figure.subplots(rows, len(metrics), sharex=True, squeeze=False)
    for column, metric in enumerate(metrics):
        for number, (name, variants) in enumerate(groups.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            found = [(v.overrides[key], summary.spread(v.key, metric)) for v in variants]
            points = sorted((x, spread) for x, spread in found if spread)
            axes[0, column].errorbar(
                [x for x, _ in points],
                [spread.mean for _, spread in points],
                yerr=[spread.sd or 0.0 for _, spread in points],
                color=colour, marker="o", markersize=4, capsize=3, label=name or COLUMNS.get(metric, metric),
            )  # fmt: skip
            known = sorted((v.overrides[key], v.paper[metric]) for v in variants if metric in v.paper)
            if known:
                style = "o--" if len(known) > 2 else "o"  # two points are no curve
                axes[1, column].plot(*zip(*known, strict=True), style, color=colour, markerfacecolor="white")
        _finish(axes[0, column], f"measured {COLUMNS.get(metric, metric)} (%)", legend=len(groups) > 1)
        if published:
            _finish(axes[1, column], f"paper's {COLUMNS.get(metric, metric)} (%), R50-FPN", legend=False)
        axes[-1, column].set_xlabel(key.removeprefix("model.").replace(".", " ").replace("_", " "))
    figure.suptitle(study.title + (f" ({study.source})" if study.source else ""), fontsize=10)
    return figure


def curve_groups(variants: tuple[Variant, ...]) -> tuple[str, dict[str, list[Variant]]]:
    """Return the key that a curve is drawn over, and the variants of each curve by the backbone's name."""
    key = next(key for key in variants[0].overrides if key != "model.backbone.name")
    groups: dict[str, list[Variant]] = {}
    for variant in variants:
        groups.setdefault(str(variant.overrides.get("model.backbone.name", "")).upper(), []).append(variant)
    return key, groups


def _seeds(summary: StudySummary) -> str:
    counts = {len({run.seed for run in summary.runs if run.variant == v.key}) for v in summary.study.variants}
    low, high = min(counts - {0}, default=0), max(counts, default=0)
    return f"{high} seed{'' if high == 1 else 's'}" if low == high else f"{low} to {high} seeds"


def _broken(label: str, width: int = 16) -> str:
    """Return a label in lines of about so many letters."""
    lines = [""]
    for word in label.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _finish(axes: Axes, label: str, *, legend: bool = True) -> None:
    axes.set_ylabel(label, fontsize=8.5)
    axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5)
