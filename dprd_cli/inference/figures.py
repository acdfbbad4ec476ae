"""Figures of images: their parts (the paper's Fig. 6), and what was found beside what is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dprd_cli.drawing.detections import compare_parts, draw_parts, grid
from dprd_cli.inference.prediction import Prediction
from dprd_cli.model.parts import decompose
from dprd_cli.structures.sample import ImageArray

if TYPE_CHECKING:
    from dprd_cli.weights.load import LoadedModel


def part_figures(
    item: Prediction, model: LoadedModel, *, compare: bool, per_stage: bool
) -> dict[str, ImageArray]:
    """Return the figures of one image by the ending of their file names.

    Args:
        item: The image, and its detections that are shown.
        model: What detected them: class names, and which stages have parts.
        compare: Add `_compare`: reference parts beside deformed parts.
        per_stage: Add `_stages`: a panel for each cascade stage.
    """
    found = item.detections
    labels = zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    captions = [f"{model.class_names[label]} {score:.2f}" for label, score in labels]
    figures = {"": draw_parts(item.image, found.boxes, found.part_boxes, captions=captions)}
    if compare and found.part_boxes is not None:
        reference = decompose(found.boxes, found.part_boxes.shape[1])
        figures["_compare"] = compare_parts(item.image, found, reference)
    if per_stage:
        figures["_stages"] = draw_stages(item, model.config.model.cascade.part_stages)
    return figures


def draw_stages(item: Prediction, part_stages: Sequence[int]) -> ImageArray:
    """Draw a panel for the boxes that went into each cascade stage, and one for the final boxes.

    Args:
        item: The image, and its detections that are shown.
        part_stages: Stages (from 1) that pool parts; the others' panels show whole boxes only.
    """
    panels, titles = [], []
    if (trace := item.trace) is not None:
        for index, boxes in enumerate(trace.boxes.unbind(1)):
            pooled = trace.part_boxes if index + 1 in part_stages else None
            parts = None if pooled is None else pooled[:, index]
            panels.append(draw_parts(item.image, boxes, parts))
            titles.append(f"into stage {index + 1}" + (" (no parts)" if parts is None else ""))
    panels.append(draw_parts(item.image, item.detections.boxes, item.detections.part_boxes))
    titles.append("final")
    return grid(panels, 2 if len(panels) > 3 else len(panels), titles)
