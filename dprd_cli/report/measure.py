"""What a page measures itself: a run's checkpoint on the first images of its held-out data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.data.build import build_dataset
from dprd_cli.evaluation.analysis import Analyst, ImageExample
from dprd_cli.evaluation.confusion import MATCH_SCORE
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.evaluation.figures import draw_found, draw_truth
from dprd_cli.gradcam.comparison import Evidence, compare
from dprd_cli.gradcam.explainer import Explainer
from dprd_cli.gradcam.figures import overlay
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import ImageArray
from dprd_cli.weights.load import LoadedModel, load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a report measures.

    Attributes:
        limit: Number of images that each checkpoint is measured on; 0 takes all.
        evaluate: Measure checkpoints; by default if the runs are few.
        data: Folder of the data, or `synthetic`; each checkpoint's own by default.
        device: `auto`, `cpu` or `cuda`.
    """

    limit: int = 64
    evaluate: bool | None = None
    data: str | None = None
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class ImagePair:
    """An image with its annotations, and the same with its detections.

    Attributes:
        name: The image's file name.
        f1: How well its objects were detected, 0..1.
        annotated: RGB. [H, W, 3]
        detected: RGB. [H, W, 3]
    """

    name: str
    f1: float
    annotated: ImageArray
    detected: ImageArray


@dataclass(frozen=True, slots=True)
class GradCamMap:
    """A Grad-CAM of one detection over its image.

    Attributes:
        image: RGB. [H, W, 3]
        name: The detection's class.
        score: Its score.
        layer: Where the gradient was taken.
        share: Share of the energy inside its box; None for a map of zeros.
    """

    image: ImageArray
    name: str
    score: float
    layer: str
    share: float | None


@dataclass(frozen=True, slots=True)
class RunMeasurement:
    """What was measured of a run's checkpoint.

    Attributes:
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
    best: list[ImagePair]
    worst: list[ImagePair]
    maps: list[GradCamMap]

    def to_json(self) -> dict[str, Any]:
        """Return its numbers."""
        return {
            "images": self.images,
            "total": self.total,
            "step": self.step,
            "metrics": self.metrics,
            **{name: self.analysis[name] for name in ("ap", "confusion", "parts", "tide")},
        }


def measure(
    checkpoint: Path,
    options: ReportOptions,
    *,
    keep: int,
    progress: Progress | None = None,
) -> RunMeasurement:
    """Evaluate a checkpoint on the first images of its held-out split.

    Args:
        checkpoint: The file.
        options: Number of images, data and device.
        keep: Best images, worst images and Grad-CAM maps to keep.
        progress: Called with (images done, images).

    Raises:
        UserError: If the checkpoint or the data cannot be used.
    """
    model = load_model(str(checkpoint), options.device).with_data(options.data)
    config = model.config
    dataset = build_dataset(
        config.data, "val", class_names=model.class_names, category_ids=model.category_ids
    )
    analyst = Analyst(dataset.coco(), dataset.category_ids, dataset.class_names, keep=keep)
    found = evaluate(
        model.with_precision().detector,
        dataset,
        config,
        EvaluationOptions(
            limit=options.limit,
            masks=model.with_masks,
            progress=progress,
            watch=analyst.watch,
            parts_from=MATCH_SCORE,
        ),
    )
    return RunMeasurement(
        checkpoint=checkpoint,
        step=model.step,
        config=config.model_dump(mode="json"),
        data=dataset.name,
        images=found.coco.images,
        total=len(dataset),
        results=found.to_json(),
        metrics=found.metrics,
        seconds_per_image=found.seconds_per_image,
        analysis=analyst.result(found.evaluator, found.parts).to_json(),
        best=[_pair(one, model) for one in analyst.best],
        worst=[_pair(one, model) for one in analyst.worst],
        maps=_maps(model, [*analyst.best, *analyst.worst], keep),
    )


def _pair(one: ImageExample, model: LoadedModel) -> ImagePair:
    return ImagePair(
        Path(one.sample.file_name).name,
        one.f1,
        draw_truth(one.sample, model.class_names),
        draw_found(one, model.class_names, MATCH_SCORE),
    )


def _maps(model: LoadedModel, images: list[ImageExample], most: int) -> list[GradCamMap]:
    """Explain the surest object of each image, the best images first."""
    explainer = Explainer(model, min_score=MATCH_SCORE)
    maps: list[GradCamMap] = []
    for one in images:
        if len(maps) == most:
            break
        for found in compare(one.sample.image, [explainer], 1):
            evidence = found.evidence[0]
            if evidence is not None:
                maps.append(_map(one.sample.image, found.name, evidence))
    return maps


def _map(image: ImageArray, name: str, evidence: Evidence) -> GradCamMap:
    drawn = overlay(image, evidence)
    return GradCamMap(drawn, name, evidence.score, evidence.heatmap.layer, evidence.share_in_box)
