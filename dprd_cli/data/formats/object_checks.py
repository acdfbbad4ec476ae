"""What is odd about annotated objects, in any format: boxes and masks that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.segmentation import (
    has_mask,
    has_thin_polygon,
    is_far_from_box,
    looks_like_points,
    mask_area,
    mask_bounds,
    outline_fault,
    row_major_bounds,
)
from dprd_cli.structures.sample import CocoEntry

#: Objects with a thinner box, in pixels and after clipping to the image, are left out.
MIN_BOX_SIDE = 0.01
Size: TypeAlias = tuple[int, int]
_LARGEST_AREA = 1e10  # COCO's evaluator ignores larger objects
_FAR_OUT = 0.05  # of the longest side: boxes that reach further out were not drawn so
_NEAR = 1.5  # pixels between a box and the bounds of its polygons


@dataclass(slots=True)
class CheckReport:
    """What annotations hold, and what is odd about them.

    Attributes:
        problems: Everything odd, errors too.
        num_images: Images listed.
        num_objects: Annotations that are not crowds, degenerate ones included.
        num_crowds: Annotations that are crowds (COCO) or difficult (VOC).
        degenerate: Annotation ids of objects whose box is thinner than `MIN_BOX_SIDE`.
        usable_images: The entries of `images` that are sound and whose file may be opened.
    """

    problems: Problems = field(default_factory=Problems)
    num_images: int = 0
    num_objects: int = 0
    num_crowds: int = 0
    degenerate: list[int] = field(default_factory=list)
    usable_images: list[CocoEntry] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """Lines to print before the data is used."""
        return self.problems.warnings


@dataclass(frozen=True, slots=True)
class _ObjectKind:
    """A way in which objects are odd.

    Args:
        what: What is counted.
        text: What is odd about it.
    """

    what: str
    text: str


_KINDS = {
    "degenerate": _ObjectKind("object", "left out: the box, clipped to the image, has no area"),
    "cut": _ObjectKind("box", "clipped to the image"),
    "far mask": _ObjectKind("object", "whose box and mask overlap by less than half"),
    "empty mask": _ObjectKind("object", "whose mask has no pixel"),
    "points": _ObjectKind(
        "object",
        "whose segmentation looks like a list of points [[x, y], ...], of which there is no mask; COCO wants "
        "[[x1, y1, x2, y2, ...]]",
    ),
    "thin": _ObjectKind("object", "with polygons of fewer than three points, which are ignored"),
    "same object": _ObjectKind("object", "annotated twice: same image, category and box"),
    "wrong area": _ObjectKind(
        "area",
        "that are not the masks' (or boxes'): they decide APS, APM and APL, and below 0 or above 1e10 the "
        "object is ignored in evaluation",
    ),
}


class ObjectCounts:
    """Counts objects that are odd in any format, but can be used.

    Args:
        report: Gets the ids of degenerate objects, and the lines.
        title: What the names in the lines are.
        slack: Pixels by which a box may reach out of its image without being counted.
    """

    def __init__(self, report: CheckReport, title: str = "", slack: float = 0.0) -> None:
        self.report, self.title, self.slack = report, title, slack
        self.kinds: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
        self.number = self.shares = self.outside = self.corners = self.proofs = self.along_rows = 0
        self.parts = False  # whether a box has a fraction of a pixel
        self._seen: set[tuple[Any, ...]] = set()

    def add(self, ann: CocoEntry, size: Size, who: Any) -> None:
        """Look at an annotation with a sound box and mask, in an image of (height, width)."""
        box, segmentation = ann["bbox"], ann.get("segmentation")
        if isinstance(segmentation, list) and (fault := outline_fault(segmentation)):
            self.report.problems.add("outline", f"{who}: {fault}", who)
            return
        self.number += 1
        self.shares += min(box) >= 0 and max(box[2:]) > 0 and max(box) <= 1 < min(size)
        self.parts = self.parts or any(value != int(value) for value in box)
        self.corners += box[2] > box[0] and box[3] > box[1] and not _reaches_out(_of_corners(box), size, 1)
        self.outside += _reaches_out(box, size, max(self.slack, _FAR_OUT * max(size)))
        if is_degenerate(box, size):
            self.report.degenerate.append(ann["id"])
            self.kinds["degenerate"].append(who)
            return
        if _reaches_out(box, size, self.slack):
            self.kinds["cut"].append(who)
        self._compare_mask(ann, who)
        key = (ann["image_id"], str(ann.get("category_id")), *box)
        if key in self._seen:
            self.kinds["same object"].append(who)
        self._seen.add(key)

    def _compare_mask(self, ann: CocoEntry, who: Any) -> None:
        """Compare the mask with the box and the area."""
        box, segmentation = ann["bbox"], ann.get("segmentation")
        if looks_like_points(segmentation):
            self.kinds["points"].append(who)
        elif has_thin_polygon(segmentation):
            self.kinds["thin"].append(who)
        elif isinstance(segmentation, dict) and not has_mask(ann):
            self.kinds["empty mask"].append(who)
        bounds = mask_bounds(segmentation)
        if bounds is not None and is_far_from_box(bounds, box):
            self.kinds["far mask"].append(who)
            self.proofs += all(abs(a - b) <= _NEAR for a, b in zip(bounds, box, strict=True))
            if isinstance(segmentation, dict):
                self.along_rows += not is_far_from_box(row_major_bounds(segmentation), box)
        area = ann.get("area")
        if area is not None and _contradicts(area, box, None if bounds is None else mask_area(segmentation)):
            self.kinds["wrong area"].append(f"{who}: {area:g}")

    def summarise(self) -> None:
        """Turn the counts into lines."""
        problems, far = self.report.problems, len(self.kinds["far mask"])
        if self.parts and self.shares == self.number:
            text = f"all {plural(self.number, 'box')} are smaller than one pixel (0 to 1)"
            text = f"{text}: these look like shares of the image; boxes are in pixels"
            problems.count(
                "shares", text, [], "error", "multiply x and w by the width, y and h by the height"
            )
        elif self.number == self.corners and (self.outside > 1 or self.proofs):
            proof = f", as the polygons of {self.proofs} prove" if self.proofs else ""
            text = f"all {plural(self.number, 'box')} would fit as [x1, y1, x2, y2]{proof}; they are read as"
            problems.count("corners", f"{text} [x, y, width, height], COCO's order", [])
        if far and self.along_rows * 2 > far:
            text = f"{plural(self.along_rows, 'mask')} would fit if their runs went along the rows"
            problems.count("row-major", f"{text}: COCO's go down the columns", [])
        for kind, found in _KINDS.items():
            count_objects(problems, kind, found.what, found.text, self.kinds[kind], title=self.title)


def _of_corners(box: list[float]) -> list[float]:
    """Turn xyxy into [x, y, w, h]."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _contradicts(area: float, box: list[float], mask: float | None) -> bool:
    """Whether an area cannot be that of a mask, or of anything inside [x, y, w, h] where there is no mask."""
    least, most = (mask / 2 - 4, 2 * mask + 4) if mask is not None else (0, 1.1 * box[2] * box[3] + 4)
    return not (0 < area <= _LARGEST_AREA and least <= area <= most)


def count_objects(
    problems: Problems,
    kind: str,
    what: str,
    text: str,
    who: Sequence[object],
    *,
    title: str = "",
) -> None:
    """Record what is odd about some objects, if there are any."""
    if who:
        line = f"{plural(len(who), what)} {text} ({title}{first_five(who)})"
        problems.count(kind, line, who)


def _reaches_out(box: list[float], size: Size, slack: float) -> bool:
    """Whether [x, y, w, h] reaches out of an image of (height, width), by more than `slack` pixels."""
    x, y, w, h = box
    height, width = size
    return x < -slack or y < -slack or x + w > width + slack or y + h > height + slack


def clip_box(box: list[float], size: Size) -> tuple[float, float, float, float]:
    """Turn COCO's [x, y, w, h] into xyxy inside an image of `size` (height, width), in pixels."""
    x, y, w, h = box
    height, width = size
    return (
        min(max(x, 0), width),
        min(max(y, 0), height),
        min(max(x + w, 0), width),
        min(max(y + h, 0), height),
    )


def is_degenerate(box: list[float], size: Size) -> bool:
    """Whether [x, y, w, h] in pixels is thinner than `MIN_BOX_SIDE` inside an image of (height, width)."""
    x1, y1, w, h = box
    x2, y2 = x1 + w, y1 + h
    if x1 < 0 or y1 < 0 or x2 > size[1] or y2 > size[0]:
        x1, y1, x2, y2 = clip_box(box, size)
    return x2 - x1 < MIN_BOX_SIDE or y2 - y1 < MIN_BOX_SIDE
