"""Figures of Grad-CAM maps: a row for each object, a column for each network, as in the paper's Fig. 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from dprd_cli.drawing.canvas import DARK, Canvas, Color, shrink
from dprd_cli.drawing.parts import box_rows
from dprd_cli.drawing.style import BLUE, ORANGE
from dprd_cli.gradcam.comparison import MATCH_IOU, Evidence, ObjectComparison
from dprd_cli.gradcam.localization import REGIONS, Localization
from dprd_cli.structures.sample import ImageArray

_COLORS = "inferno"  # perceptually uniform, and legible in grey
_BOX: Color = (255, 255, 255)
_PARTS: Color = (110, 214, 255)  # a hue that the colour map has not
_WIDTH, _TEXT, _EDGE = 2.6, 0.22, 0.75  # inches: of a panel, of the line below it, for titles and colour bar
_LONG_SIDE = 1200  # pixels of a panel's image, at most
_DPI = 200.0
_EMPHASIS = 1.9  # of lines and texts: panels are shown at less than half their pixels
_MAX_HEIGHT = 10_000.0  # pixels of a figure: the panels of many objects are smaller, for viewers refuse more


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One image and the objects compared in it.

    Args:
        name: The image's name.
        image: RGB. [H, W, 3]
        objects: May be empty.
    """

    name: str
    image: ImageArray
    objects: list[ObjectComparison]


def draw_comparison(
    exhibits: Sequence[Exhibit], titles: Sequence[str], *, method: str, score_thresh: float
) -> Figure:
    """Draw the rows of one or several images: the image, then each network's map.

    Args:
        exhibits: At least one.
        titles: What each network is called.
        method: Name of the method, for the colour bar.
        score_thresh: What detections had to reach.
    """
    rows: list[tuple[Exhibit, ObjectComparison | None]] = []
    for exhibit in exhibits:
        rows += [(exhibit, found) for found in exhibit.objects] or [(exhibit, None)]
    blank = all(found is None for _, found in rows)
    columns = 1 if blank else 1 + len(titles)
    heights = [_WIDTH * exhibit.image.shape[0] / exhibit.image.shape[1] + _TEXT for exhibit, _ in rows]
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    size = (_WIDTH * columns, sum(heights) + _EDGE)
    figure = Figure(figsize=size, dpi=min(_DPI, _MAX_HEIGHT / size[1]), layout=layout)
    grid: NDArray[np.object_] = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes, title in zip(grid[0], ["image", *titles], strict=False):
        axes.set_title(title, fontsize=9)
    for line, (exhibit, found) in zip(grid, rows, strict=True):
        _draw_row(line, exhibit, found, score_thresh, named=len(exhibits) > 1)
    if not blank:
        _color_bar(figure, grid, method, one=len(titles) == 1)
    return figure


def overlay(image: ImageArray, evidence: Evidence) -> ImageArray:
    """Draw a map over the grey image, the detection's box in white and its parts in light blue.

    Args:
        image: RGB. [H, W, 3]
        evidence: In the frame of the image.

    Returns:
        RGB, enlarged if the image is small. [H', W', 3]
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    colors = mpl.colormaps[_COLORS](evidence.heatmap.values)[..., :3] * 255  # [H, W, 3]
    opacity = 0.3 + 0.5 * evidence.heatmap.values[..., None]  # the image stays visible where the map is low
    blended = ((1 - opacity) * grey + opacity * colors).astype(np.uint8)
    canvas = Canvas(blended, _LONG_SIDE, _EMPHASIS)
    for part in [] if evidence.part_boxes is None else box_rows(evidence.part_boxes):
        canvas.box(part, _PARTS, width=0.4, halo=True)
    canvas.box(box_rows(evidence.box[None])[0], _BOX, width=0.9, halo=True)
    return canvas.finish()


def outline(image: ImageArray, found: ObjectComparison) -> ImageArray:
    """Draw the box of an object in its image, with its class; see `overlay`.

    Args:
        image: RGB. [H, W, 3]
        found: At least one network found it.
    """
    canvas = Canvas(image, _LONG_SIDE, _EMPHASIS)
    box = next(box_rows(one.box[None])[0] for one in found.evidence if one is not None)
    canvas.box(box, _BOX, width=0.9, halo=True)
    canvas.chip(box, found.name, DARK)
    return canvas.finish()


def plot_localization(found: Localization) -> Figure:
    """Draw the shares of each model as box plots; dashes are a map without any preference.

    Args:
        found: Maps of one model or two.
    """
    regions = [r for r in REGIONS if np.isfinite(found.values(found.models[0], f"area_{r}")).any()]
    figure = Figure(figsize=(1.6 + 2.0 * len(regions), 3.6), dpi=200, layout="constrained")
    axes = figure.subplots()
    step = 1.0 / (len(found.models) + 1)
    for place, region in enumerate(regions):
        for number, (model, colour) in enumerate(zip(found.models, (ORANGE, BLUE), strict=False)):
            values = found.values(model, f"share_{region}")
            where = place + (number - (len(found.models) - 1) / 2) * step
            drawn = axes.boxplot(
                values[np.isfinite(values)],
                positions=[where],
                widths=0.75 * step,
                patch_artist=True,
                showmeans=True,
                flierprops={"markersize": 2, "markeredgecolor": "#777777"},
                medianprops={"color": "black"},
                meanprops={"marker": "D", "markersize": 3.5, "markerfacecolor": "white"}
                | {"markeredgecolor": "black"},
            )
            drawn["boxes"][0].set(facecolor=colour, alpha=0.75, label=model if place == 0 else None)
        area = found.mean(found.models[0], f"area_{region}") or 0.0
        label = "uniform map" if place == 0 else "_"  # an underscore keeps it out of the legend
        axes.hlines(area, place - 0.45, place + 0.45, colors="#555555", linestyles="--", label=label)
    axes.set_xticks(range(len(regions)), [f"{REGIONS[region]}" for region in regions])
    axes.set(ylabel="share of the map's energy", ylim=(0, 1), xlim=(-0.5, len(regions) - 0.5))
    axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_row(
    line: NDArray[np.object_],
    exhibit: Exhibit,
    found: ObjectComparison | None,
    score_thresh: float,
    *,
    named: bool,
) -> None:
    if found:
        _show(line[0], outline(exhibit.image, found), exhibit.name if named else "")
    else:
        name = f"{exhibit.name}: " if named else ""
        _show(line[0], exhibit.image, f"{name}no object reached the score {score_thresh:g}")
    for axes, evidence in zip(line[1:], found.evidence if found else [None] * (len(line) - 1), strict=True):
        if evidence is not None:
            _show(axes, overlay(exhibit.image, evidence), _caption(evidence))
            continue
        _show(axes, np.full_like(exhibit.image, 238), "")
        if found:
            text = f"not found: no {found.name}\nof IoU ≥ {MATCH_IOU:g}, score ≥ {score_thresh:g}"
            axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=8)


def _caption(evidence: Evidence) -> str:
    share = evidence.share_in_box
    energy = "no gradient here" if share is None else f"{100 * share:.0f} % of energy in box"
    return f"score {evidence.score:.2f}, {evidence.heatmap.layer}: {energy}"


def _show(axes: Axes, image: ImageArray, caption: str) -> None:
    axes.imshow(shrink(image, _LONG_SIDE), interpolation="antialiased")
    axes.set_xlabel(caption or " ", fontsize=7.5, labelpad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _color_bar(figure: Figure, grid: NDArray[np.object_], method: str, *, one: bool) -> None:
    scale = "scaled to 0 to 1 by its own extremes"
    text = f"{method} of the object's class logit; the map is {scale}"
    if not one:
        text = f"{method} of the object's class logit; each map is {scale}, one colour scale for all"
    bar = figure.colorbar(
        ScalarMappable(cmap=_COLORS), ax=grid.ravel().tolist(), location="bottom", aspect=60, pad=0.01
    )
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    bar.set_label(text, fontsize=7.5)
