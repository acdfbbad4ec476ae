"""How well maps stay on annotated objects: shares of their energy, and the pointing game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dprd_cli.gradcam.comparison import Evidence, find_evidence, match_objects
from dprd_cli.gradcam.explainer import Explainer, NetworkView
from dprd_cli.gradcam.measures import RegionMeasures, box_region, measure_region
from dprd_cli.structures.sample import Dataset, Sample

#: Region -> what the figure and the table call it.
REGIONS = {"mask": "in mask", "box": "in box"}
_KINDS = ("share", "hit", "area")
_MEASURES = tuple(f"{kind}_{region}" for region in REGIONS for kind in _KINDS)
#: Columns of `MapRecord.row`.
COLUMNS = ("image", "object", "class", "model", "score", "layer", *_MEASURES)


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """An object that maps are held against.

    Args:
        image: Name of the image.
        number: Which of the image's objects.
        class_name: Its class.
        box: xyxy in pixels. [4]
        mask: Its mask, where there is one. [H, W]
    """

    image: str
    number: int
    class_name: str
    box: NDArray[np.float32]
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class MapRecord:
    """How one model's map of an object lies to it.

    Args:
        image: Name of the image.
        number: Which of the image's objects.
        class_name: The object's class.
        model: What the model is called.
        score: Class score of the detection.
        layer: The layer that the map was read from.
        mask: To the object's mask, where there is one.
        box: To its box.
    """

    image: str
    number: int
    class_name: str
    model: str
    score: float
    layer: str
    mask: RegionMeasures | None
    box: RegionMeasures

    def value(self, measure: str) -> float | None:
        """Return a measure by its column's name, such as `share_mask`."""
        kind, _, region = measure.partition("_")
        measures: RegionMeasures | None = getattr(self, region)
        return None if measures is None else getattr(measures, kind)

    def row(self) -> dict[str, str | float | None]:
        """Return a row of the CSV, by `COLUMNS`."""
        return {
            "image": self.image,
            "object": self.number,
            "class": self.class_name,
            "model": self.model,
            "score": self.score,
            "layer": self.layer,
            **{measure: self.value(measure) for measure in _MEASURES},
        }


@dataclass(frozen=True, slots=True)
class ModelLocalization:
    """How well one model's maps stay on the objects.

    Args:
        model: What it is called.
        zero_maps: Number of maps that are zero everywhere.
        means: Mean over the objects by the measures' columns; None where there is nothing to average.
    """

    model: str
    zero_maps: int
    means: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """How far the first model is ahead of the second.

    Args:
        mean: Mean difference; None without objects.
        interval: Half of its 95 % interval (normal approximation); None with fewer than two objects.
        objects: Number of objects on which both have a map.
    """

    mean: float | None
    interval: float | None
    objects: int


@dataclass(frozen=True, slots=True)
class LocalizationStatistics:
    """How well the maps of one model, or of two, stay on annotated objects.

    Args:
        objects: Number of objects that every model found.
        missed: Number of the others.
        models: The means of each model.
        lead: By `share_mask` and `share_box`, how far the first model is ahead; empty for a single one.
    """

    objects: int
    missed: int
    models: tuple[ModelLocalization, ...]
    lead: dict[str, MeanDifference]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        return {
            "objects": self.objects,
            "missed": self.missed,
            "models": [{"model": one.model, "zero_maps": one.zero_maps, **one.means} for one in self.models],
            "lead": {name: asdict(difference) for name, difference in self.lead.items()},
        }


class Localization:
    """Collects the maps of objects that every model found.

    Args:
        models: What to call each model.

    Attributes:
        records: One per object and model.
        missed: Number of annotated objects that not every model found.
    """

    def __init__(self, models: tuple[str, ...]) -> None:
        self.models = models
        self.records: list[MapRecord] = []
        self.missed = 0

    def add(self, subject: AnnotatedObject, evidence: Sequence[Evidence]) -> None:
        """Add one object, with the evidence of each model."""
        for model, one in zip(self.models, evidence, strict=True):
            values = one.heatmap.values
            box = box_region(subject.box.tolist(), (values.shape[0], values.shape[1]))
            mask = None if subject.mask is None else measure_region(values, subject.mask)
            record = MapRecord(
                image=subject.image,
                number=subject.number,
                class_name=subject.class_name,
                model=model,
                score=one.score,
                layer=one.heatmap.layer,
                mask=mask,
                box=measure_region(values, box),
            )
            self.records.append(record)

    def values(self, model: str, measure: str) -> NDArray[np.float64]:
        """Return a measure of one model's maps, NaN where there is none. [objects]."""
        own = (record.value(measure) for record in self.records if record.model == model)
        return np.array(list(own), dtype=np.float64)

    def mean(self, model: str, measure: str) -> float | None:
        """Return the mean of a measure over the objects where there is one; None where there is none."""
        return _mean(self.values(model, measure))

    def result(self) -> LocalizationStatistics:
        """Return means over the objects, and the first model's lead over the second."""
        models = tuple(
            ModelLocalization(
                model,
                int(np.isnan(self.values(model, "share_box")).sum()),
                {measure: self.mean(model, measure) for measure in _MEASURES},
            )
            for model in self.models
        )
        lead = {}
        if len(self.models) > 1:
            for measure in (f"share_{region}" for region in REGIONS):
                ours, theirs = (self.values(model, measure) for model in self.models[:2])
                lead[measure] = _mean_difference(ours - theirs)
        return LocalizationStatistics(len(self.records) // len(self.models), self.missed, models, lead)


def measure_localization(
    dataset: Dataset,
    explainers: Sequence[Explainer],
    *,
    titles: Sequence[str],
    limit: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Localization:
    """Measure how well maps stay on annotated objects, over the objects that every network found.

    Args:
        dataset: Classes are compared by name.
        explainers: The networks.
        titles: What to call each of them.
        limit: Only the first so many images; 0: all.
        progress: Called with (images done, images).
    """
    found = Localization(tuple(titles))
    total = min(len(dataset), limit or len(dataset))
    for number in range(total):
        sample = dataset[number]
        views = [explainer.look(sample.image) for explainer in explainers]
        names = [dataset.class_names[label] for label in sample.labels.tolist()]
        indices = [
            find_annotated(sample, names, view, explainer.class_names(view))
            for explainer, view in zip(explainers, views, strict=True)
        ]
        for row, chosen in enumerate(zip(*indices, strict=True)):
            if None in chosen:
                found.missed += 1
                continue
            evidence = [
                find_evidence(explainer, view, index)
                for explainer, view, index in zip(explainers, views, chosen, strict=True)
            ]
            mask = sample.masks[row] if sample.masks is not None and sample.has_mask[row] else None
            found.add(AnnotatedObject(sample.file_name, row, names[row], sample.boxes[row], mask), evidence)
        if progress is not None:
            progress(number + 1, total)
    return found


def find_annotated(
    sample: Sample, names: Sequence[str], view: NetworkView, found_names: Sequence[str]
) -> list[int | None]:
    """Return the detection of each annotated object, or None; the best detections choose first."""
    truth = torch.from_numpy(sample.boxes)
    objects = match_objects(view.shown.boxes, found_names, truth, names)
    return [objects.index(row) if row in objects else None for row in range(len(names))]


def _mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _mean_difference(values: NDArray[np.float64]) -> MeanDifference:
    finite = values[np.isfinite(values)]
    half = 1.96 * float(finite.std(ddof=1)) / len(finite) ** 0.5 if len(finite) > 1 else None
    return MeanDifference(_mean(finite), half, len(finite))
