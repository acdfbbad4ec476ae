"""What a number about a split's detections is made of: something of each image, and what follows from all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from dprd_cli.config import registry
from dprd_cli.errors import UsageError, short_repr
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import Sample


class DetectionRecord(NamedTuple):
    """An image of a split with its detections.

    Args:
        number: Orders the images as the split does, over all processes.
        sample: The image.
        target: Its objects in the frame of the test image.
        detections: On the CPU, in the frame of `sample`.
        proposals: In the frame of `target`, best first; None in multi-scale testing and tiles. [R, 4]
        segmentations: COCO's run lengths of the masks, where they were pasted on the detector's device.
    """

    number: int
    sample: Sample
    target: Target
    detections: Detections
    proposals: Tensor | None
    segmentations: list[dict[str, Any]] | None = None


class Metric(Protocol):
    """Numbers about detections; `registry.metric` has what makes them, by name."""

    def of(self, record: DetectionRecord) -> Any:
        """Return what one image adds: small, and fit to be sent to another process."""
        ...

    def result(self, images: Sequence[Any]) -> Mapping[str, float | None]:
        """Return the numbers by key, of what `of` returned for each image, in the split's order.

        A plugin's keys are its name, or start with it and an underscore.
        """
        ...


class MetricSet:
    """All metrics that are registered, those of plugins last."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {
            name: registry.metric.call(name) for name in registry.metric.names
        }

    def of(self, record: DetectionRecord) -> dict[str, object]:
        """Return what one image adds to each.

        Raises:
            UserError: If a plugin's fails.
        """
        return {
            name: registry.metric.guard(name, metric.of, record) for name, metric in self._metrics.items()
        }

    def result(self, images: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
        """Return all numbers, of what `of` returned for each image.

        Raises:
            UserError: If a plugin's fails, or gives something else than numbers by keys of its own.
        """
        numbers: dict[str, float | None] = {}
        for name, metric in self._metrics.items():
            found = registry.metric.guard(name, metric.result, [image[name] for image in images])
            numbers |= _checked(name, found) if name in registry.metric.from_plugins else found
        return numbers


def _checked(name: str, found: object) -> dict[str, float | None]:
    if not isinstance(found, Mapping):
        raise UsageError(f"metric '{name}': expected numbers by key, but got {short_repr(found)}")
    for key, value in found.items():
        if not isinstance(key, str) or not (key == name or key.startswith(f"{name}_")):
            raise UsageError(f"metric '{name}': its key {short_repr(key)} has to be {name} or {name}_...")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UsageError(f"metric '{name}': {key} is {short_repr(value)}, expected a number or None")
    return {key: None if value is None else float(value) for key, value in found.items()}
