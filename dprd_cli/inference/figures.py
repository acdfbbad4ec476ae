"""Figures of pictures: their parts (the paper's Fig. 6), and what was found beside what is annotated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dprd_cli.drawing.canvas import Picture
from dprd_cli.drawing.curves import save_figure
from dprd_cli.drawing.detections import compare_parts, draw_detections, draw_parts, draw_targets, grid
from dprd_cli.evaluation.analysis import Ranked
from dprd_cli.evaluation.figures import analysis_figures
from dprd_cli.files.results import write_picture
from dprd_cli.inference.prediction import Prediction
from dprd_cli.model.parts import decompose
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import Sample
from dprd_cli.weights.checkpoint import write_atomically

if TYPE_CHECKING:
    from dprd_cli.weights.load import LoadedModel


def part_figures(
    item: Prediction, found: Detections, model: LoadedModel, *, compare: bool, per_stage: bool
) -> dict[str, Picture]:
    """Return the figures of one picture by the ending of their file names.

    Args:
        item: The picture.
        found: Its detections that are shown.
        model: What detected them: class names, and which stages have parts.
        compare: Add `_compare`: reference parts beside deformed parts.
        per_stage: Add `_stages`: a panel for each cascade stage.
    """
    labels = zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    captions = [f"{model.class_names[label]} {score:.2f}" for label, score in labels]
    figures = {"": draw_parts(item.image, found.boxes, found.part_boxes, captions=captions)}
    if compare and found.part_boxes is not None:
        reference = decompose(found.boxes, found.part_boxes.shape[1])
        figures["_compare"] = compare_parts(item.image, found, reference)
    if per_stage:
        figures["_stages"] = draw_stages(item, found, model.config.model.cascade.part_stages)
    return figures


def draw_stages(item: Prediction, found: Detections, part_stages: Sequence[int]) -> Picture:
    """Draw a panel for the boxes that went into each cascade stage, and one for the final boxes.

    Args:
        item: The picture.
        found: Its detections that are shown.
        part_stages: Stages (from 1) that pool parts; the others' panels show whole boxes only.
    """
    panels, titles = [], []
    if found.stage_boxes is not None:
        for index in range(found.stage_boxes.shape[1]):
            used = index + 1 in part_stages and found.stage_part_boxes is not None
            parts = found.stage_part_boxes[:, index] if used and found.stage_part_boxes is not None else None
            panels.append(draw_parts(item.image, found.stage_boxes[:, index], parts))
            titles.append(f"into stage {index + 1}" + ("" if used else " (no parts)"))
    panels.append(draw_parts(item.image, found.boxes, found.part_boxes))
    titles.append("final")
    return grid(panels, 2 if len(panels) > 3 else len(panels), titles)


def draw_truth(sample: Sample, class_names: Sequence[str]) -> Picture:
    """Draw what is annotated in a picture: masks, boxes, class names; crowds left out."""
    masks = None if sample.masks is None else torch.from_numpy(sample.masks)
    size = (sample.image.shape[0], sample.image.shape[1])
    boxes, labels = torch.from_numpy(sample.boxes), torch.from_numpy(sample.labels)
    has_mask = torch.from_numpy(sample.has_mask)
    target = Target(boxes, labels, size, masks=masks, has_mask=has_mask)
    return draw_targets(sample.image, target, class_names)


def draw_found(ranked: Ranked, class_names: Sequence[str], score_thresh: float) -> Picture:
    """Draw what was found in a picture: masks, boxes, class names, scores, and parts in orange."""
    image, found = ranked.sample.image, ranked.detections
    return draw_detections(image, found, class_names, score_thresh=score_thresh, parts=True)


def draw_ranked(pictures: Sequence[Ranked], class_names: Sequence[str], score_thresh: float) -> Picture:
    """Draw pictures in pairs, annotations at the left and detections at the right, two pairs a row."""
    cells, titles = [], []
    for one in pictures:
        cells += [draw_truth(one.sample, class_names), draw_found(one, class_names, score_thresh)]
        titles += [f"{Path(one.sample.file_name).name}: annotated", f"detected, F1 {one.f1:.2f}"]
    return grid(cells, 4, titles)


def write_analysis(
    folder: Path, analysis: Mapping[str, Any], best: Sequence[Ranked] = (), worst: Sequence[Ranked] = ()
) -> list[Path]:
    """Write an analysis as `analysis.json` and figures, and its best and worst pictures, into a folder.

    Args:
        folder: Exists; files of an earlier analysis in it are replaced.
        analysis: From `Analyst.result` or `analyse`.
        best: The pictures for `best.jpg`.
        worst: The pictures for `worst.jpg`.

    Returns:
        The figures written.

    Raises:
        ResourceError: If a file cannot be written.
    """
    text = json.dumps(analysis)
    write_atomically(folder / "analysis.json", lambda file: file.write(text.encode()))
    written = []
    for name, figure in analysis_figures(analysis).items():
        save_figure(figure, folder / f"{name}.png")
        written.append(folder / f"{name}.png")
    for name, pictures in (("best", best), ("worst", worst)):
        if pictures:
            drawn = draw_ranked(pictures, analysis["class_names"], analysis["score_thresh"])
            write_picture(folder / f"{name}.jpg", drawn)
            written.append(folder / f"{name}.jpg")
    return written
