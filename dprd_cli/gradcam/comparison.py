"""The same objects explained by one network or two: which detections are of one object, and their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import box_iou

from dprd_cli.gradcam.explainer import Explainer, Heatmap, NetworkView
from dprd_cli.gradcam.measures import box_region, energy_share
from dprd_cli.structures.sample import ImageArray

#: IoU from which two boxes of one class are of the same object.
MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """One network's detection of an object, and its map.

    Args:
        score: Class score of the detection.
        box: Its box, xyxy in pixels of the image. [4]
        part_boxes: Its parts, None where the network has none. [P, 4]
        heatmap: What in the image its class score comes from.
    """

    score: float
    box: Tensor
    part_boxes: Tensor | None
    heatmap: Heatmap

    @property
    def share_in_box(self) -> float | None:
        """The share of the map's energy inside the detection's own box; None for a map of zeros."""
        values = self.heatmap.values
        return energy_share(values, box_region(self.box.tolist(), (values.shape[0], values.shape[1])))


@dataclass(frozen=True, slots=True)
class ObjectComparison:
    """An object, and the evidence of each network.

    Args:
        name: Class of the object.
        evidence: In the order of the networks; None where one did not find the object.
    """

    name: str
    evidence: tuple[Evidence | None, ...]


def match_objects(
    boxes: Tensor, names: Sequence[str], other_boxes: Tensor, other_names: Sequence[str]
) -> list[int | None]:
    """Find each object among others: the same class name, and the largest IoU of at least 0.5.

    Args:
        boxes: Objects, which choose in this order. [N, 4]
        names: Their classes; upper and lower case count the same.
        other_boxes: Each is chosen at most once. [M, 4]
        other_names: Their classes.

    Returns:
        For each object the index of the other, or None.
    """
    overlap = box_iou(boxes.float(), other_boxes.float())  # [N, M]
    chosen: list[int | None] = []
    for row, name in zip(overlap.tolist(), names, strict=True):
        fitting = [
            (iou, -index)
            for index, (iou, other) in enumerate(zip(row, other_names, strict=True))
            if iou >= MATCH_IOU and other.casefold() == name.casefold() and index not in chosen
        ]
        chosen.append(-max(fitting)[1] if fitting else None)
    return chosen


def compare(
    image: ImageArray, explainers: Sequence[Explainer], max_objects: int, *, all_found: bool = False
) -> list[ObjectComparison]:
    """Explain the objects that the first network found in an image, by each network.

    Args:
        image: RGB. [H, W, 3]
        explainers: One or two networks.
        max_objects: The first one's best so many detections.
        all_found: Then as many of those that only the second one found.
    """
    views = [explainer.look(image) for explainer in explainers]
    names = [explainer.class_names(view) for explainer, view in zip(explainers, views, strict=True)]
    rows: list[tuple[int | None, ...]] = [(index,) for index in range(len(names[0]))]
    only: list[tuple[int | None, ...]] = []
    if len(views) > 1:
        matched = match_objects(views[0].shown.boxes, names[0], views[1].shown.boxes, names[1])
        rows = list(enumerate(matched))
        only = [(None, index) for index in range(len(names[1])) if index not in matched]
    chosen = rows[:max_objects] + (only[:max_objects] if all_found else [])
    return [
        ObjectComparison(
            next(names[k][index] for k, index in enumerate(row) if index is not None),
            tuple(
                None if index is None else find_evidence(explainer, view, index)
                for explainer, view, index in zip(explainers, views, row, strict=True)
            ),
        )
        for row in chosen
    ]


def find_evidence(explainer: Explainer, view: NetworkView, index: int) -> Evidence:
    """Return a network's detection of an object, and its map.

    Args:
        explainer: The network.
        view: From its `look`.
        index: Which of its detections.
    """
    shown = view.shown
    parts = None if shown.part_boxes is None else shown.part_boxes[index]
    heatmap = explainer.explain(view, index)
    return Evidence(float(shown.scores[index]), shown.boxes[index], parts, heatmap)
