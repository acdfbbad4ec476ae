"""The few numbers that a run is known by, and which evaluation they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dprd_cli.evaluation.curve_figures import KINDS
from dprd_cli.report.measure import RunMeasurement
from dprd_cli.report.runs import RunFiles


@dataclass(frozen=True, slots=True)
class Headline:
    """One evaluation of a run.

    Attributes:
        metrics: Flat name -> value; empty where a run was never evaluated.
        source: Where it is from, in words.
        images: Number of images.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    images: int = 0


def headline(run: RunFiles, measurement: RunMeasurement | None) -> Headline:
    """Return the usual evaluation of a run that is of the most images.

    Args:
        run: Its recorded evaluations and the rows of its training.
        measurement: What was measured for the page.
    """
    return max(_evaluations(run, measurement), key=lambda one: one.images, default=Headline())


def _evaluations(run: RunFiles, measurement: RunMeasurement | None) -> Iterator[Headline]:
    for one in run.recorded:
        if not one.usual:
            continue
        content, images = one.content, _count(one.content.get("images"))
        flat = {f"{kind}_{key}": value for kind in KINDS for key, value in (content.get(kind) or {}).items()}
        names = ("recall50", "recall70", "part_iou", "seconds_per_image")
        yield Headline(
            flat | {name: content.get(name) for name in names}, f"{one.file}, {images} images", images
        )
    if measurement is not None:
        flat = measurement.metrics | {"seconds_per_image": measurement.seconds_per_image}
        yield Headline(flat, f"this page, {measurement.images} images", measurement.images)
    for row in run.evaluations[-1:]:
        images = _count(row.get("images"))
        source = f"training's last evaluation, step {row['step']}, {images} images"
        yield Headline(row, source, images)


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
