"""Figures of an evaluation that are curves: precision over recall, and what holds from a score on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dprd_cli.drawing.axes import tidy
from dprd_cli.drawing.style import BLACK, BLUE, COLOURS, GREEN, GREY

KINDS = {"bbox": "box", "segm": "mask"}
IOUS = {"50": "IoU 0.5", "75": "IoU 0.75", "50:95": "IoU 0.5 to 0.95"}
#: More classes than these are drawn alike, without names.
NAMED = 10
_RECALLS = np.linspace(0, 1, 101)
_STYLES = ("-", "--")


def pr_figure(analysis: Mapping[str, Any], kind: str, names: Sequence[str] = tuple(IOUS)) -> Figure:
    """Draw precision over recall: each class, and their mean in black.

    Args:
        analysis: An `Analysis` as JSON.
        kind: `bbox` or `segm`.
        names: Which curves, a panel each.
    """
    width = 3.6 if len(names) == 1 else 3.3 * len(names)
    figure = Figure(figsize=(width, 4.3), dpi=150, layout="constrained")
    panels: NDArray[np.object_] = figure.subplots(1, len(names), squeeze=False, sharey=True)
    curves = analysis["curves"][kind]
    for axes, name in zip(panels[0], names, strict=True):
        many = len(curves["classes"]) > NAMED
        for number, (label, row) in enumerate(zip(analysis["class_names"], curves["classes"], strict=True)):
            if row[name] is not None:
                colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % 2]
                look = {"color": GREY, "alpha": 0.35} if many else {"color": colour, "label": short(label)}
                axes.plot(_RECALLS, row[name], linewidth=0.8 if many else 1.2, linestyle=style, **look)
                if name == "50" and kind == "bbox" and not many:
                    _mark_best(axes, analysis, label, colour)
        if curves["mean"][name] is not None:
            axes.plot(_RECALLS, curves["mean"][name], color=BLACK, linewidth=2.2, label="mean of classes")
        else:
            _nothing(axes, "no object")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), title=IOUS[name], xlabel="recall")
        _finish(axes)
    panels[0, 0].set_ylabel(f"precision ({KINDS[kind]})")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        columns = 2 if len(names) == 1 else 6
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5)
    return figure


def _mark_best(axes: Axes, analysis: Mapping[str, Any], class_name: str, colour: str) -> None:
    """Mark where a class's F1 is best, with the score there; analyses of older versions do not say."""
    best = analysis.get("thresholds", {}).get("classes", {}).get(class_name)
    if best:
        axes.plot([best["recall"]], [best["precision"]], marker="o", markersize=4, color=colour)
        text = f" {best['score']:.2f}"
        axes.annotate(text, (best["recall"], best["precision"]), fontsize=7, color=colour, va="top")


def scores_figure(analysis: Mapping[str, Any]) -> Figure:
    """Draw precision, recall and F1 over the score from which boxes count, and beside it each class's F1.

    Args:
        analysis: An `Analysis` as JSON.
    """
    curves = analysis["scores"]
    classes = {name: row for name, row in curves["classes"].items() if row is not None}
    count = 2 if len(classes) > 1 else 1
    figure = Figure(figsize=(0.6 + 3.6 * count, 3.6), dpi=150, layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, count, squeeze=False, sharey=True).flat)
    for name, colour, width in (("precision", BLUE, 1.5), ("recall", GREEN, 1.5), ("f1", BLACK, 2.2)):
        values = [np.nan if value is None else value for value in curves[name]]
        label = "F1" if name == "f1" else name
        panels[0].plot(curves["scores"], values, color=colour, linewidth=width, label=label)
    _mark_best_score(panels[0], analysis["thresholds"]["overall"])
    panels[0].set(title="all classes together", ylabel=f"boxes at IoU {analysis['iou_thresh']:g}")
    for axes in panels[1:]:
        for number, (name, values) in enumerate(classes.items()):
            colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % 2]
            named = {"color": colour, "label": short(name)}
            look = {"color": GREY, "alpha": 0.35} if len(classes) > NAMED else named
            axes.plot(curves["scores"], values, linewidth=1.2, linestyle=style, **look)
        axes.set(title="F1 of each class")
    for axes in panels:
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score from which a detection counts")
        _finish(axes)
        if axes.get_legend_handles_labels()[0]:
            place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
            axes.legend(ncols=3, frameon=False, fontsize=8.5, borderaxespad=0.0, **place)
    return figure


def _mark_best_score(axes: Axes, best: Mapping[str, float] | None) -> None:
    """Mark where the F1 of all classes together is best, if anything was right."""
    if best is None:
        return
    axes.axvline(best["score"], color=GREY, linewidth=0.8, linestyle=":")
    axes.plot([best["score"]], [best["f1"]], marker="o", markersize=5, color=BLACK)
    left = best["score"] < 0.5
    place = best["score"] + (0.02 if left else -0.02)
    text = f"best F1 {best['f1']:.2f}\nfrom score {best['score']:.2g}"
    axes.annotate(text, (place, 0.03), fontsize=8.5, ha="left" if left else "right", va="bottom")


def short(text: str, most: int = 16) -> str:
    """Return a name that fits into a figure."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY)


def _finish(axes: Axes) -> None:
    tidy(axes)
    axes.title.set_fontsize(10)
