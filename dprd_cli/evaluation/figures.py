"""Figures of an evaluation's analysis: PR curves, confusions, APs by class and size, error types, parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dprd_cli.drawing.axes import tidy
from dprd_cli.drawing.detections import draw_detections, draw_targets
from dprd_cli.drawing.sheet import grid
from dprd_cli.drawing.style import BLACK, BLUE, COLOURS, GREY, RED, save_figure
from dprd_cli.evaluation.analysis import Analysis, ImageExample
from dprd_cli.evaluation.curve_figures import KINDS, NAMED, pr_figure, scores_figure, short
from dprd_cli.evaluation.deciding_figure import deciding_figure, tells_parts
from dprd_cli.evaluation.places_figure import places_figure, tells_places
from dprd_cli.evaluation.tide import ERRORS
from dprd_cli.files.atomic import write_bytes
from dprd_cli.files.images import write_image
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.model.parts import decompose
from dprd_cli.structures.detections import Target
from dprd_cli.structures.sample import ImageArray, Sample

#: All that `write_analysis` may write.
PLOT_FILES = (
    "analysis.json",
    *(
        f"{name}.png"
        for name in ("pr_bbox", "pr_segm", "scores", "confusion", "ap_class", "ap_size", "tide", "parts")
    ),
    *("deciding.png", "places.png", "worst.jpg", "best.jpg"),
)
_KIND_COLOURS = {"bbox": BLUE, "segm": RED}
_WRITTEN = 20  # confusion matrices up to this many classes have their numbers written in


def analysis_figures(analysis: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the figures that an analysis has something for, by the stem of their file names.

    Args:
        analysis: An `Analysis` as JSON.
    """
    figures = {f"pr_{kind}": pr_figure(analysis, kind) for kind in analysis["curves"]}
    if "scores" in analysis:  # analyses of older versions do not say
        figures["scores"] = scores_figure(analysis)
    figures["confusion"] = confusion_figure(analysis)
    figures["ap_class"] = class_figure(analysis)
    figures["ap_size"] = size_figure(analysis)
    if "errors" in analysis["tide"]:
        figures["tide"] = tide_figure(analysis["tide"])
    if (analysis.get("parts") or {}).get("all"):
        figures["parts"] = parts_figure(analysis["parts"])
    if tells_parts(analysis.get("parts")):
        figures["deciding"] = deciding_figure(analysis["parts"])
    if tells_places(analysis.get("parts")):
        figures["places"] = places_figure(analysis["parts"])
    return figures


def confusion_figure(analysis: Mapping[str, Any]) -> Figure:
    """Draw the confusion matrix: in each cell the count, and its share of the row's objects in percent."""
    matrix = np.asarray(analysis["confusion"])
    names = [*analysis["class_names"], "background"]
    size = len(names)
    side = min(max(3.6, 1.4 + 0.5 * size), 14.0) if size <= _WRITTEN else min(4 + 0.13 * size, 16.0)
    figure = Figure(figsize=(side + 0.6, side), dpi=150, layout="constrained")
    axes = figure.subplots()
    shares = row_shares(matrix)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape) if size <= _WRITTEN else ():
        if matrix[row, column]:
            colour = "white" if shares[row, column] > 0.55 else BLACK
            look: dict[str, Any] = {"ha": "center", "color": colour}
            axes.text(column, row + 0.02, str(matrix[row, column]), va="bottom", size=9, **look)
            axes.text(column, row + 0.07, f"{100 * shares[row, column]:.0f} %", va="top", size=6.5, **look)
    small = 9 if size <= _WRITTEN else 5
    axes.set_xticks(range(size), [*names[:-1], "missed"], rotation=90, fontsize=small)
    axes.set_yticks(range(size), names, fontsize=small)
    axes.set(xlabel="detected as", ylabel="annotated as")
    title = (
        f"boxes at IoU {analysis['iou_thresh']:g}, score {analysis['score_thresh']:g}; rows add up to 100 %"
    )
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="share of the row").outline.set_visible(False)
    return figure


def row_shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row of a confusion matrix [K+1, K+1] divided by its sum; rows of zeros stay zero."""
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))


def class_figure(analysis: Mapping[str, Any]) -> Figure:
    """Draw each class's AP as bars, for boxes and masks; the classes by their box AP where there are many."""
    names, aps = analysis["class_names"], analysis["ap"]
    order = list(range(len(names)))
    if len(order) > NAMED:
        order.sort(key=lambda index: -(aps["bbox"][index]["AP"] or -1))
    labels = [f"{names[index]} ({analysis['objects'][index]})" for index in order]
    series = {
        f"{title} AP": ([aps[kind][index]["AP"] for index in order], _KIND_COLOURS[kind])
        for kind, title in KINDS.items()
        if kind in aps
    }
    return bars(labels, series, "AP (%)", rows="class (objects)")


def size_figure(analysis: Mapping[str, Any]) -> Figure:
    """Draw the AP of all, small, medium and large objects as bars: means over the classes that have any."""
    rows = {"all": "AP", "small": "APS", "medium": "APM", "large": "APL"}
    series = {
        f"{title} AP": ([mean_ap(analysis["ap"][kind], key) for key in rows.values()], _KIND_COLOURS[kind])
        for kind, title in KINDS.items()
        if kind in analysis["ap"]
    }
    return bars(list(rows), series, "AP (%)", rows="size of the objects")


def mean_ap(rows: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    """Return the mean of an AP over the classes that have one, or None."""
    known = [value for row in rows if (value := row[name]) is not None]
    return sum(known) / len(known) if known else None


def tide_figure(tide: Mapping[str, Any]) -> Figure:
    """Draw TIDE's error types: AP50 that would be gained without each."""
    labels = [f"{name}: {text}" for name, text in ERRORS.items()]
    values = [tide["errors"][name]["delta_ap"] for name in ERRORS]
    return bars(labels, {"AP50 lost": (values, RED)}, "AP50 lost (points)", rows="type of error", top=None)


def bars(
    labels: Sequence[str],
    series: Mapping[str, tuple[Sequence[float | None], str]],
    title: str,
    *,
    rows: str = "",
    top: float | None = 100.0,
) -> Figure:
    """Draw horizontal bars with their values written beside them.

    Args:
        labels: Name of each group, from top to bottom.
        series: Label -> values (None: nothing to measure) and colour.
        title: What the axis says.
        rows: What the groups are.
        top: Its end.
    """
    height = 0.7 + len(labels) * (0.17 * len(series) + 0.14)
    figure = Figure(figsize=(4.6, height + 0.35), dpi=150, layout="constrained")
    axes = figure.subplots()
    thick = 0.8 / len(series)
    largest = max([1e-9, *(value for values, _ in series.values() for value in values if value is not None)])
    for number, (label, (values, colour)) in enumerate(series.items()):
        places = [row + (number - (len(series) - 1) / 2) * thick for row in range(len(labels))]
        axes.barh(places, [value or 0.0 for value in values], 0.9 * thick, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            text = "-" if value is None else f"{value:.1f}"
            shift = 0.012 * (top or 1.15 * largest)
            axes.text((value or 0.0) + shift, place, text, va="center", fontsize=8, color=BLACK)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set(xlim=(0, top or 1.15 * largest), ylim=(len(labels) - 0.45, -0.55), xlabel=title, ylabel=rows)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if len(series) > 1:
        figure.legend(loc="outside upper right", ncols=len(series), frameon=False, fontsize=8.5)
    return figure


def parts_figure(statistics: Mapping[str, Any], most: int = 12) -> Figure:
    """Draw each class's mean parts in the unit box of its objects, over the reference parts (dashed).

    Args:
        statistics: A `PartDeformation` as JSON, with objects.
        most: Draw the classes with the most objects.
    """
    groups = [statistics["all"], *statistics["classes"][:most]]
    columns = min(len(groups), 4)
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.5 * rows + 0.35), dpi=150, layout="constrained")
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    unit = decompose(torch.tensor([0.0, 0.0, 1.0, 1.0]), len(statistics["parts"])).tolist()
    for axes in panels:
        axes.set_axis_off()
    for axes, group in zip(panels, groups, strict=False):
        for number, (part, reference) in enumerate(zip(group["per_part"], unit, strict=True)):
            colour = COLOURS[number % len(COLOURS)]
            _rectangle(axes, reference, GREY, linewidth=0.7, linestyle=(0, (3, 2)))
            box = _moved(reference, part)
            label = part["part"] if group is groups[0] else None
            _rectangle(axes, box, colour, linewidth=1.4, label=label)
            start, end = _center(reference), _center(box)
            axes.plot(*zip(start, end, strict=True), color=colour, linewidth=1.0)
            axes.plot(*end, marker="o", markersize=2.5, color=colour)
        name = group["name"] if group is not groups[0] else "all classes"
        axes.set_title(f"{short(name)}\n{group['objects']} objects", fontsize=7.5)
        axes.set(xlim=(-0.22, 1.22), ylim=(1.22, -0.22), aspect="equal")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _moved(reference: Sequence[float], part: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Return the part box at the mean offsets (Eq. 2), from xyxy of the unit box."""
    x1, y1, x2, y2 = reference
    width, height = x2 - x1, y2 - y1
    x, y = (x1 + x2) / 2 + part["dx"] * width, (y1 + y2) / 2 + part["dy"] * height
    half_w, half_h = width * np.exp(part["log_w"]) / 2, height * np.exp(part["log_h"]) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def _center(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _rectangle(axes: Axes, box: Sequence[float], colour: str, **look: Any) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, **look))


def draw_truth(sample: Sample, class_names: Sequence[str]) -> ImageArray:
    """Draw what is annotated in an image: masks, boxes, class names; crowds left out."""
    masks = None if sample.masks is None else torch.from_numpy(sample.masks)
    size = (sample.image.shape[0], sample.image.shape[1])
    boxes, labels = torch.from_numpy(sample.boxes), torch.from_numpy(sample.labels)
    has_mask = torch.from_numpy(sample.has_mask)
    target = Target(boxes, labels, size, masks=masks, has_mask=has_mask)
    return draw_targets(sample.image, target, class_names)


def draw_found(example: ImageExample, class_names: Sequence[str], score_thresh: float) -> ImageArray:
    """Draw what was found in an image: masks, boxes, class names, scores, and parts in orange."""
    image, found = example.sample.image, example.detections
    return draw_detections(image, found, class_names, score_thresh=score_thresh, parts=True)


def draw_examples(
    images: Sequence[ImageExample], class_names: Sequence[str], score_thresh: float
) -> ImageArray:
    """Draw images in pairs, annotations at the left and detections at the right, two pairs a row."""
    cells, titles = [], []
    for one in images:
        cells += [draw_truth(one.sample, class_names), draw_found(one, class_names, score_thresh)]
        titles += [f"{Path(one.sample.file_name).name}: annotated", f"detected, F1 {one.f1:.2f}"]
    return grid(cells, 4, titles)


def write_analysis(
    folder: OutputFolder,
    analysis: Analysis,
    best: Sequence[ImageExample] = (),
    worst: Sequence[ImageExample] = (),
) -> list[Path]:
    """Write an analysis as `analysis.json` and figures, and its best and worst images, into a folder.

    Args:
        folder: Where they go.
        analysis: What is written and drawn.
        best: The images for `best.jpg`.
        worst: The images for `worst.jpg`.

    Returns:
        The figures written.

    Raises:
        ResourceError: If a file cannot be written.
    """
    content = analysis.to_json()
    write_bytes(folder.claim("analysis.json"), json.dumps(content).encode())
    written = []
    for name, figure in analysis_figures(content).items():
        written.append(folder.claim(f"{name}.png"))
        save_figure(figure, written[-1])
    for name, images in (("worst", worst), ("best", best)):
        if images:
            drawn = draw_examples(images, analysis.class_names, analysis.score_thresh)
            written.append(folder.claim(f"{name}.jpg"))
            write_image(written[-1], drawn)
    return written
