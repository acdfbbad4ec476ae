"""Where parts are that choose among places: how often each is chosen, how sure, and whether all agree."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dprd_cli.model.places import JITTER, choose_places
from dprd_cli.structures.detections import Detections


@dataclass(frozen=True, slots=True)
class PartPlaces:
    """Where a part is, over the objects of a group.

    Args:
        part: Name of the part.
        shares: Share of the objects for which it is at each place, the reference part's first. [Q]
        entropy: Mean entropy of the probabilities of the places, in nats.
        steadiness: Share of slightly shifted boxes for which it is at the same place.
    """

    part: str
    shares: tuple[float, ...]
    entropy: float
    steadiness: float


@dataclass(frozen=True, slots=True)
class GroupPlaces:
    """Where the parts of one class, or of all classes, are.

    Args:
        name: The class, or `all`.
        objects: Number of detections.
        per_part: One for each part. [P]
        together: Share of the objects whose parts are all at one place: shifted alike, or not at all.
        still: Share of the objects whose parts are all reference parts.
    """

    name: str
    objects: int
    per_part: tuple[PartPlaces, ...]
    together: float
    still: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers, under the names of its fields."""
        per_part = [asdict(part) | {"shares": list(part.shares)} for part in self.per_part]
        return asdict(self) | {"per_part": per_part}


@dataclass(frozen=True, slots=True)
class PlaceChoices:
    """Where the parts of many detections are.

    Args:
        shifts: (x, y, scale) of each place: its shift in sizes of the object, and its size. [Q]
        total: The group of all classes.
        classes: Each class with objects, most objects first.
    """

    shifts: tuple[tuple[float, float, float], ...]
    total: GroupPlaces
    classes: tuple[GroupPlaces, ...]

    def to_json(self) -> dict[str, Any]:
        """Return `shifts`, `most_entropy`, `jitter`, `all` and `classes` as plain containers."""
        return {
            "shifts": [list(shift) for shift in self.shifts],
            "most_entropy": math.log(len(self.shifts)),
            "jitter": JITTER,
            "all": self.total.to_json(),
            "classes": [group.to_json() for group in self.classes],
        }


class PlaceStatistics:
    """Collects the places of the parts of detections.

    Args:
        class_names: Name of each class index. [K]
        shifts: (x, y, scale) of each place; None where parts choose none. [Q, 3]
    """

    def __init__(self, class_names: tuple[str, ...], shifts: Tensor | None) -> None:
        self.class_names = class_names
        self._shifts = shifts
        self._probs: list[Tensor] = []
        self._steadiness: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, detections: Detections) -> None:
        """Add one image's detections, as far as the places of their parts are known."""
        probs, steadiness = detections.part_places, detections.part_steadiness
        if probs is None or steadiness is None:
            return
        known = ~probs.isnan().flatten(1).any(dim=1)
        self._probs.append(probs[known].cpu().double())
        self._steadiness.append(steadiness[known].cpu().double())
        self._labels.append(detections.labels[known].cpu())

    def result(self, parts: tuple[str, ...]) -> PlaceChoices | None:
        """Return what was collected, of parts [P] of these names; None where nothing is known."""
        if self._shifts is None or not sum(map(len, self._labels)):
            return None
        probs, steadiness, labels = map(torch.cat, (self._probs, self._steadiness, self._labels))

        def group(name: str, own: Tensor) -> GroupPlaces:
            return _group(name, parts, probs[own], steadiness[own])

        classes = [group(self.class_names[label], labels == label) for label in sorted(set(labels.tolist()))]
        classes.sort(key=lambda one: (-one.objects, one.name))
        shifts = [(round(x, 4), round(y, 4), round(s, 4)) for x, y, s in self._shifts.tolist()]
        return PlaceChoices(tuple(shifts), group("all", labels >= 0), tuple(classes))


def _group(name: str, parts: tuple[str, ...], probs: Tensor, steadiness: Tensor) -> GroupPlaces:
    """Describe one group by its probabilities [D, P, Q] and steadiness [D, P]."""
    chosen = choose_places(probs.log())  # [D, P]
    shares = torch.nn.functional.one_hot(chosen, probs.shape[2]).double().mean(dim=0)
    entropy = torch.special.entr(probs).sum(dim=-1).mean(dim=0)
    together = (chosen == chosen[:, :1]).all(dim=1)
    return GroupPlaces(
        name=name,
        objects=len(probs),
        per_part=tuple(
            PartPlaces(part, tuple(row), nats, steady)
            for part, row, nats, steady in zip(
                parts, shares.tolist(), entropy.tolist(), steadiness.mean(dim=0).tolist(), strict=True
            )
        ),
        together=together.double().mean().item(),
        still=(together & (chosen[:, 0] == 0)).double().mean().item(),
    )
