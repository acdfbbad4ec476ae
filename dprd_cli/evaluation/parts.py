"""How far parts deform, and how much of it adapts to the instance.

An offset is measured as Eq. 2 makes it: the shift of a part's centre in units of the reference part's
size, and the logarithm of the size ratio. If every instance had the same offsets (one template), the
spread around the mean would be zero however far the parts moved.
Where it was asked for, what each part, and the whole, did for the class score is averaged beside it
(`model.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dprd_cli.evaluation.metric import DetectionRecord
from dprd_cli.evaluation.places import PlaceChoices, PlaceStatistics
from dprd_cli.model.parts import decompose
from dprd_cli.ops.boxes import encode_deltas, paired_iou
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.part_names import PART_NAMES, WHOLE

#: Columns of `PartDeformation.rows`.
COLUMNS = (
    *("class", "objects", "part", "iou", "dx", "dy", "abs_dx", "abs_dy", "log_w", "log_h"),
    *("share", "fall", "decides", "motion", "spread_class", "spread_global"),
)


def part_offsets(part_boxes: Tensor, boxes: Tensor) -> Tensor:
    """Return the offsets (dx, dy, dw, dh) that turn the reference parts of `boxes` into `part_boxes`.

    Args:
        part_boxes: xyxy. [D, P, 4]
        boxes: xyxy, of positive size. [D, 4]

    Returns:
        Units of the reference part's size, sizes as log ratios. [D, P, 4]

    Source: Eq. 2, inverted.
    """
    return encode_deltas(decompose(boxes, part_boxes.shape[1]), part_boxes, (1.0, 1.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class PartRole:
    """What a part, or the whole, did for the class score; means over the objects of a group.

    Args:
        share: Share of the assembly's maxima that it wins; None where that was not measured.
        fall: By how much the class score falls without it; None where that was not measured.
        decides: Share of the objects whose score falls by more without it than without any other; None where
            that was not measured.
    """

    share: float | None = None
    fall: float | None = None
    decides: float | None = None


@dataclass(frozen=True, slots=True)
class PartMeans:
    """Means over the objects of a group, of one part.

    Args:
        part: Name of the part.
        iou: IoU with the reference part.
        dx: Shift to the right, in widths of the reference part.
        dy: Shift down, in its heights.
        abs_dx: Absolute shift to the side.
        abs_dy: Absolute shift up or down.
        log_w: Logarithm of the width's ratio to the reference part's.
        log_h: The same of the height.
        share: As in `PartRole`, like the next two.
        fall: By how much the class score falls without the part.
        decides: How often it falls by more than without any other.
    """

    part: str
    iou: float
    dx: float
    dy: float
    abs_dx: float
    abs_dy: float
    log_w: float
    log_h: float
    share: float | None = None
    fall: float | None = None
    decides: float | None = None


@dataclass(frozen=True, slots=True)
class GroupDeformation:
    """How the parts of one class, or of all classes, deform.

    Args:
        name: The class, or `all`.
        objects: Number of detections.
        iou: Mean IoU with the reference parts.
        moved: Share of parts whose IoU is below 0.999.
        abs_dx: Mean absolute shift to the side, in part widths.
        abs_dy: Mean absolute shift up or down, in part heights.
        log_w: Mean logarithm of the width's ratio to the reference part's.
        log_h: The same of the height.
        motion: Root mean square of all offsets.
        spread_class: The same after subtracting the class's mean offsets: what adapts to the instance (a
            single object has no spread).
        spread_global: The same after subtracting the mean offsets of all classes.
        per_part: The means of each part. [P]
        whole: What the whole did for the class score.
    """

    name: str
    objects: int
    iou: float
    moved: float
    abs_dx: float
    abs_dy: float
    log_w: float
    log_h: float
    motion: float
    spread_class: float
    spread_global: float
    per_part: tuple[PartMeans, ...]
    whole: PartRole

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers, under the names of its fields."""
        return asdict(self) | {"per_part": [asdict(part) for part in self.per_part]}

    @property
    def is_told(self) -> bool:
        """Whether it is known what the parts did."""
        return self.whole.fall is not None

    @property
    def telling(self) -> str:
        """The part without which the class score falls most, such as `upper 0.12`; empty if none is known."""
        known = [(part.fall, part.part) for part in self.per_part if part.fall is not None]
        if not known or max(known)[0] <= 0:
            return ""
        return f"{max(known)[1]} {max(known)[0]:.3f}"


@dataclass(frozen=True, slots=True)
class PartDeformation:
    """How the parts of many detections deform.

    Args:
        parts: Names of the parts, none where no detection has any. [P]
        total: Over all classes; None where no detection has parts.
        classes: Each class with objects, most objects first.
        places: Where parts are that choose among places; None where they do not, or it was not asked.
    """

    parts: tuple[str, ...]
    total: GroupDeformation | None
    classes: tuple[GroupDeformation, ...]
    places: PlaceChoices | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `parts`, `all`, `classes` and, where there are any, `places` as plain containers."""
        return {
            "parts": list(self.parts),
            "all": None if self.total is None else self.total.to_json(),
            "classes": [group.to_json() for group in self.classes],
            **({} if self.places is None else {"places": self.places.to_json()}),
        }

    def rows(self) -> list[dict[str, str | float | None]]:
        """Return rows by `COLUMNS` for a CSV: one per class and part (and whole, where told), `all` first."""
        groups = [] if self.total is None else [self.total, *self.classes]
        return [
            {
                **dict.fromkeys(COLUMNS),
                "class": group.name,
                "objects": group.objects,
                **row,
                "motion": group.motion,
                "spread_class": group.spread_class,
                "spread_global": group.spread_global,
            }
            for group in groups
            for row in (
                *map(asdict, group.per_part),
                *([{"part": WHOLE, **asdict(group.whole)}] if group.is_told else []),
            )
        ]


class PartStatistics:
    """Collects the parts of detections and tells, per class and over all, how they deform.

    Args:
        class_names: Name of each class index. [K]
        place_shifts: The places that parts choose among; see `ChoosesPlaces`. [Q, 3] or None
    """

    def __init__(self, class_names: tuple[str, ...], place_shifts: Tensor | None = None) -> None:
        self.class_names = class_names
        self._places = PlaceStatistics(class_names, place_shifts)
        self._offsets: list[Tensor] = []
        self._ious: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._shares: list[Tensor] = []
        self._falls: list[Tensor] = []

    def add(self, detections: Detections) -> None:
        """Add one image's detections; nothing where the detector has no parts."""
        if detections.part_boxes is None or not len(detections):
            return
        self._places.add(detections)
        parts, boxes = detections.part_boxes.cpu().double(), detections.boxes.cpu().double()
        sizes = torch.cat((parts[..., 2:] - parts[..., :2], (boxes[:, 2:] - boxes[:, :2])[:, None]), dim=1)
        whole = (sizes > 0).all(dim=-1).all(dim=-1)
        parts, boxes = parts[whole], boxes[whole]
        self._offsets.append(part_offsets(parts, boxes))
        self._ious.append(paired_iou(parts, decompose(boxes, parts.shape[1])))
        self._labels.append(detections.labels.cpu()[whole])
        unknown = parts.new_full((len(parts), parts.shape[1] + 1), torch.nan)
        for told, values in ((detections.part_shares, self._shares), (detections.part_falls, self._falls)):
            values.append(unknown if told is None else told.cpu().double()[whole])

    def result(self) -> PartDeformation:
        """Return the statistics of what was added so far."""
        if not self._labels or not sum(map(len, self._labels)):
            return PartDeformation((), None, ())
        offsets, ious, labels = torch.cat(self._offsets), torch.cat(self._ious), torch.cat(self._labels)
        told = torch.stack((torch.cat(self._shares), torch.cat(self._falls)), dim=-1)  # [D, P+1, 2]
        measured = _PartSample(offsets, ious, told)
        names = PART_NAMES[offsets.shape[1]]
        template = offsets.mean(dim=0)
        classes = []
        for label in sorted(set(labels.tolist())):
            own = labels == label
            classes.append(
                _group(self.class_names[label], names, _PartSample(*(v[own] for v in measured)), template)
            )
        classes.sort(key=lambda group: (-group.objects, group.name))
        total = _group("all", names, measured, template)
        # over all classes, what is left of the motion once each class has its own template
        squares = sum(group.objects * group.spread_class**2 for group in classes)
        total = replace(total, spread_class=(squares / len(labels)) ** 0.5)
        return PartDeformation(names, total, tuple(classes), self._places.result(names))


class _PartSample(NamedTuple):
    """What is known of the parts of a group's objects.

    Args:
        offsets: [D, P, 4]
        ious: With the reference parts. [D, P]
        told: Shares of the maxima and falls of the score, of the parts and the whole; NaN where they are not
            known. [D, P+1, 2]
    """

    offsets: Tensor
    ious: Tensor
    told: Tensor


def _group(name: str, parts: tuple[str, ...], measured: _PartSample, template: Tensor) -> GroupDeformation:
    """Describe one group. Global mean offsets [P, 4]."""
    offsets, ious, told = measured
    mean, size = offsets.mean(dim=0), offsets.abs().mean(dim=0)  # [P, 4] each
    *of_parts, of_whole = _roles(told)
    per_part = tuple(
        PartMeans(part, iou, dx, dy, abs_dx, abs_dy, log_w, log_h, role.share, role.fall, role.decides)
        for part, iou, (dx, dy, log_w, log_h), (abs_dx, abs_dy, _, _), role in zip(
            parts, ious.mean(dim=0).tolist(), mean.tolist(), size.tolist(), of_parts, strict=True
        )
    )
    return GroupDeformation(
        name=name,
        objects=len(offsets),
        iou=ious.mean().item(),
        moved=(ious < 0.999).double().mean().item(),
        abs_dx=size[:, 0].mean().item(),
        abs_dy=size[:, 1].mean().item(),
        log_w=mean[:, 2].mean().item(),
        log_h=mean[:, 3].mean().item(),
        motion=_rms(offsets),
        spread_class=_rms(offsets - mean),
        spread_global=_rms(offsets - template),
        per_part=per_part,
        whole=of_whole,
    )


def _roles(told: Tensor) -> list[PartRole]:
    """Return what each part, and the whole, did: means over the objects of which it is known.

    Args:
        told: Shares and falls. [D, P+1, 2]
    """
    known = told[~told.isnan().flatten(1).any(dim=1)]
    if not len(known):
        return [PartRole()] * told.shape[1]
    largest, first = known[..., 1].max(dim=1)
    decided = torch.nn.functional.one_hot(first, told.shape[1]) * (largest > 0)[:, None]
    rows = torch.cat((known.mean(dim=0), decided.double().mean(dim=0)[:, None]), dim=1)  # [P+1, 3]
    return [PartRole(share, fall, decides) for share, fall, decides in rows.tolist()]


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


class PartDrift:
    """`part_iou`: mean IoU of detected parts with the reference parts of their boxes, 1 if nothing moved."""

    def of(self, record: DetectionRecord) -> tuple[float, int]:
        """Return the sum over one image's parts, and their number: none where the detector has no parts."""
        detections = record.detections
        parts = detections.part_boxes
        if parts is None or not parts.shape[1]:
            return 0.0, 0
        overlap = paired_iou(parts.float(), decompose(detections.boxes.float(), parts.shape[1]))
        return overlap.sum().item(), overlap.numel()

    def result(self, images: Sequence[tuple[float, int]]) -> Mapping[str, float | None]:
        """Return `{"part_iou": ...}`, or nothing where there were no parts."""
        total, count = sum(one for one, _ in images), sum(number for _, number in images)
        return {"part_iou": total / count} if count else {}
