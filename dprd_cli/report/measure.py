"""What a page measures itself: a run's checkpoint on the first images of its held-out data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset
from dprd_cli.evaluation.analysis import Analyst, ImageExample
from dprd_cli.evaluation.confusion import MATCH_SCORE
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.evaluation.figures import draw_found, draw_truth
from dprd_cli.gradcam.explainer import Evidence, Explainer, compare
from dprd_cli.gradcam.figures import overlay, share_in_box
from dprd_cli.structures.sample import ImageArray
from dprd_cli.weights.load import LoadedModel, load_model


@dataclass(frozen=True, slots=True)
class Pair:
    """An image with its annotations, the same with its detections, and what to say of it."""

    name: str
    f1: float
    annotated: ImageArray
    detected: ImageArray


@dataclass(frozen=True, slots=True)
class Map:
    """A Grad-CAM of one detection over its image, and what to say of it."""

    image: ImageArray
    name: str
    score: float
    layer: str
    share: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a checkpoint.

    Args:
        checkpoint: The file.
        step: Its optimiser steps.
        config: Its configuration.
        data: What the split is called.
        images: Images measured.
        total: Images of the split.
        results: COCO's metrics, as `dprd eval` writes them.
        metrics: The same flat, with proposal recall and part IoU.
        seconds_per_image: Time of detection and measuring.
        analysis: An `Analysis` as JSON.
        best: The best images.
        worst: The worst ones.
        maps: Grad-CAM of single objects.
    """

    checkpoint: Path
    step: int
    config: dict[str, Any]
    data: str
    images: int
    total: int
    results: dict[str, Any]
    metrics: dict[str, Any]
    seconds_per_image: float
    analysis: dict[str, Any]
    best: list[Pair]
    worst: list[Pair]
    maps: list[Map]


def measure(
    checkpoint: Path,
    *,
    configure: Callable[[Config], Config] = lambda config: config,
    limit: int,
    keep: int,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Evaluate a checkpoint on the first images of its held-out split.

    Args:
        checkpoint: The file.
        configure: Changes its data section, where other data is asked for.
        limit: Images; 0 takes all.
        keep: Best images, worst images and Grad-CAM maps to keep.
        device: `auto`, `cpu` or `cuda`.
        progress: Called with (images done, images).

    Raises:
        UserError: If the checkpoint or the data cannot be used.
    """
    model = load_model(str(checkpoint), device)
    config = configure(model.config)
    dataset = build_dataset(
        config.data, "val", class_names=model.class_names, category_ids=model.category_ids
    )
    analyst = Analyst(dataset.coco(), dataset.category_ids, dataset.class_names, keep=keep)
    found = evaluate(
        model.detector,
        dataset,
        config,
        EvaluationOptions(limit=limit, masks=model.with_masks, progress=progress, watch=analyst.watch),
    )
    return Measured(
        checkpoint=checkpoint,
        step=model.step,
        config=config.model_dump(mode="json"),
        data=dataset.name,
        images=found.coco.images,
        total=len(dataset),
        results=found.to_json(),
        metrics=found.metrics,
        seconds_per_image=found.seconds_per_image,
        analysis=analyst.result(found.evaluator).to_json(),
        best=[_pair(one, model) for one in analyst.best],
        worst=[_pair(one, model) for one in analyst.worst],
        maps=_maps(model, [*analyst.best, *analyst.worst], keep),
    )


def _pair(one: ImageExample, model: LoadedModel) -> Pair:
    return Pair(
        Path(one.sample.file_name).name,
        one.f1,
        draw_truth(one.sample, model.class_names),
        draw_found(one, model.class_names, MATCH_SCORE),
    )


def _maps(model: LoadedModel, images: list[ImageExample], most: int) -> list[Map]:
    """Explain the surest object of each image, the best images first."""
    explainer = Explainer(model, min_score=MATCH_SCORE)
    maps: list[Map] = []
    for one in images:
        if len(maps) == most:
            break
        for found in compare(one.sample.image, [explainer], 1):
            evidence = found.evidence[0]
            if evidence is not None:
                maps.append(_map(one.sample.image, found.name, evidence))
    return maps


def _map(image: ImageArray, name: str, evidence: Evidence) -> Map:
    drawn = overlay(image, evidence)
    return Map(drawn, name, evidence.score, evidence.heatmap.layer, share_in_box(evidence))
