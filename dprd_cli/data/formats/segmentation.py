"""Segmentations in COCO's forms: what is wrong with one, keeping many, and turning them into masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from dprd_cli.errors import short_repr
from dprd_cli.structures.sample import Rle

#: Kinds of segmentation.
NO_MASK, POLYGONS, RLE = 0, 1, 2
_NUMBERS = {int, float}
_LONGEST_RUN = 2**31
_FARTHEST = 10  # times the image's longest side
_LONGEST_OUTLINE = 2_000_000  # pixels: drawing takes a hundred bytes for each


def are_numbers(values: list[Any]) -> TypeGuard[list[float]]:
    """Whether all values are finite ints or floats (a bool is neither)."""
    if not set(map(type, values)) <= _NUMBERS:
        return False
    try:
        return math.isfinite(sum(values)) or all(map(math.isfinite, values))
    except OverflowError:  # an integer beyond the range of floats
        return False


def has_thin_polygon(segmentation: Any) -> bool:
    """Whether a well-formed segmentation has a polygon of one or two points, or none."""
    return isinstance(segmentation, list) and any(len(ring) < 6 for ring in segmentation)


def usable_part(segmentation: Any) -> Any:
    """Return what of a segmentation is a mask; None if nothing is.

    It is the one rule for the check, training and evaluation: an RLE with a pixel is a mask, and so are
    polygons of at least three points.
    """
    if isinstance(segmentation, dict):
        runs = _runs(segmentation.get("counts"))
        return segmentation if runs is not None and runs[1::2].any() else None
    if not isinstance(segmentation, list):
        return None
    return [ring for ring in segmentation if isinstance(ring, list) and len(ring) >= 6] or None


def has_mask(ann: Mapping[str, Any]) -> bool:
    """Whether an annotation in COCO's form has a mask."""
    return usable_part(ann.get("segmentation")) is not None


def looks_like_points(segmentation: Any) -> bool:
    """Whether a well-formed segmentation is [[x, y], ...], the points of one polygon in COCO's place."""
    return isinstance(segmentation, list) and len(segmentation) > 2 and {2} == set(map(len, segmentation))


def mask_area(segmentation: Any) -> float:
    """Return the area of a well-formed segmentation in square pixels; polygons that overlap count twice."""
    if isinstance(segmentation, dict):
        return float(rle_masks.area(_compressed(segmentation)))
    total = 0.0
    for ring in segmentation or []:
        xs, ys = ring[0::2], ring[1::2]
        total += abs(sum(map(mul, xs, ys[1:] + ys[:1])) - sum(map(mul, ys, xs[1:] + xs[:1])))
    return total / 2


def mask_bounds(segmentation: Any) -> list[float] | None:
    """Return the bounds xyxy of a well-formed segmentation; None if it gives no mask."""
    if isinstance(segmentation, dict):
        x, y, w, h = rle_masks.toBbox(_compressed(segmentation)).tolist()
        return [x, y, x + w, y + h] if w else None
    rings = [ring for ring in segmentation or [] if len(ring) >= 6]
    if not rings:
        return None
    columns, rows = [ring[0::2] for ring in rings], [ring[1::2] for ring in rings]
    return [min(map(min, columns)), min(map(min, rows)), max(map(max, columns)), max(map(max, rows))]


def row_major_bounds(rle: Rle) -> list[float]:
    """Return the bounds xyxy that an RLE would have if its runs went along the rows."""
    height, width = rle["size"]
    y, x, h, w = rle_masks.toBbox({**_compressed(rle), "size": [width, height]}).tolist()
    return [x, y, x + w, y + h]


def is_far_from_box(bounds: list[float], box: list[float]) -> bool:
    """Whether bounds xyxy overlap with [x, y, w, h] by an IoU below one half."""
    x1, y1, x2, y2 = bounds
    x, y, w, h = box
    across, down = min(x2, x + w) - max(x1, x), min(y2, y + h) - max(y1, y)
    both = max(across, 0) * max(down, 0)
    return bool(both * 3 < (x2 - x1) * (y2 - y1) + w * h)  # IoU < 1/2


def _compressed(rle: Rle) -> Rle:
    """Return an RLE in pycocotools' form."""
    if isinstance(rle["counts"], list):
        compressed: Rle = rle_masks.frPyObjects(rle, *rle["size"])
        return compressed
    return rle


def segmentation_fault(segmentation: Any, size: tuple[int, int], *, reach: bool = True) -> str:
    """Return what is wrong with a segmentation of an image of `size` (height, width), or an empty string.

    With `reach`, polygons must not reach far out of the image.
    """
    if segmentation is None:
        return ""
    if isinstance(segmentation, dict):
        return _rle_fault(segmentation, size)
    if not isinstance(segmentation, list):
        return f"segmentation is a {type(segmentation).__name__}, expected a list of polygons or an RLE"
    for ring in segmentation:
        if isinstance(ring, list) and not {list, dict}.isdisjoint(map(type, ring)):
            return "a polygon holds lists (points), expected flat numbers [x1, y1, x2, y2, ...]"
        if not isinstance(ring, list):
            return "segmentation must be a list of polygons [[x1, y1, x2, y2, ...], ...]"
        if len(ring) % 2:
            return f"a polygon has {len(ring)} numbers, expected pairs of x and y"
        if not are_numbers(ring):
            return "a polygon holds something that is not a finite number"
        if reach and ring and max(max(ring), -min(ring)) > _FARTHEST * max(size):
            return f"a polygon reaches more than {_FARTHEST} times the image's longest side away from it"
    return outline_fault(segmentation)


def outline_fault(rings: Sequence[Sequence[float]]) -> str:
    """Return that well-formed polygons take gigabytes to draw, or an empty string."""
    if sum(len(ring) * (max(ring) - min(ring)) for ring in rings if ring) < _LONGEST_OUTLINE:
        return ""  # as nearly always, and soon found out
    length = 0.0
    for ring in rings:
        corners = np.asarray(ring, dtype=np.float64).reshape(-1, 2)
        length += float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1, initial=0).sum())
    return (
        ""
        if length <= _LONGEST_OUTLINE
        else f"polygons whose outlines are longer than {_LONGEST_OUTLINE} pixels"
    )


def _rle_fault(rle: Rle, size: tuple[int, int]) -> str:
    height, width = size
    counts = rle.get("counts")
    if rle.get("size") != [height, width]:
        shown = short_repr(rle.get("size"))
        return f"RLE size {shown} is not the image's [height, width] = [{height}, {width}]"
    if isinstance(counts, list):
        if not set(map(type, counts)) <= {int} or min(counts, default=0) < 0:
            return "RLE counts must be non-negative integers"
        total = sum(counts)
    elif isinstance(counts, str):
        total = compressed_total(counts)
    else:
        return f"RLE counts is a {type(counts).__name__}, expected a list of integers or a string"
    if total < 0:
        return "RLE counts is malformed"
    if total != height * width:
        return f"RLE counts cover {total} pixels, the image has {height * width}"
    return ""


def _runs(counts: Any) -> NDArray[np.int64] | None:
    """Return the lengths of the runs of an RLE's `counts`, background first; None if it is malformed."""
    if isinstance(counts, list):
        sound = set(map(type, counts)) <= {int} and min(counts, default=0) >= 0
        return np.array(counts, dtype=np.int64) if sound and max(counts, default=0) < _LONGEST_RUN else None
    return compressed_runs(counts) if isinstance(counts, str) else None


def compressed_total(counts: str) -> int:
    """Return how many pixels a compressed RLE covers; -1 if it is malformed."""
    runs = compressed_runs(counts)
    return -1 if runs is None else int(runs.sum())


def compressed_runs(counts: str) -> NDArray[np.int64] | None:
    """Return the lengths of a compressed RLE's runs, background first; None if it is malformed. [R].

    Each run is base-32 digits, least first, in the low five bits of (character - 48); bit 5 says that a
    digit follows, bit 4 of the last digit is the sign. From the fourth run on, a run is the difference to
    the one two before (pycocotools' `rleFrString`, which checks nothing).
    """
    if not counts.isascii():
        return None
    digits = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        return None
    last = np.flatnonzero((digits & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(digits)) - np.repeat(first, last - first + 1)
    if place.max() > 6:
        return None
    runs = np.add.reduceat((digits & 31) << (5 * place), first)
    runs = np.where(digits[last] & 16, runs - (1 << (5 * (place[last] + 1))), runs)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs if runs.min() >= 0 else None


def encode(segmentation: Any, size: tuple[int, int]) -> tuple[int, list[bytes]]:
    """Return the kind of a segmentation, and its polygons (as float64) or its RLE as bytes."""
    usable = usable_part(segmentation)
    if usable is None:
        return NO_MASK, []
    if isinstance(usable, dict):
        counts = usable["counts"]
        if isinstance(counts, list):
            counts = rle_masks.frPyObjects(usable, *size)["counts"]
        return RLE, [counts.encode() if isinstance(counts, str) else counts]
    return POLYGONS, [np.asarray(ring, dtype=np.float64).tobytes() for ring in usable]


def decode(kind: int, pieces: list[Any], size: tuple[int, int]) -> Rle:
    """Turn what `encode` returned into one compressed RLE."""
    if kind == RLE:
        return {"size": list(size), "counts": bytes(pieces[0])}
    rings = [np.frombuffer(piece, dtype=np.float64).tolist() for piece in pieces]
    merged: Rle = rle_masks.merge(rle_masks.frPyObjects(rings, *size))
    return merged


class MaskStore:
    """The segmentations of all objects in a few arrays, because lists of lists take four times the memory.

    Args:
        segmentations: Segmentation and image size (height, width) of each object.

    Attributes:
        kinds: `NO_MASK`, `POLYGONS` or `RLE`. [G]
    """

    def __init__(self, segmentations: list[tuple[Any, tuple[int, int]]]) -> None:
        encoded = [encode(segmentation, size) for segmentation, size in segmentations]
        pieces = [piece for _, rings in encoded for piece in rings]
        self.kinds = np.array([kind for kind, _ in encoded], dtype=np.uint8)
        self.first_piece = np.cumsum([0, *(len(rings) for _, rings in encoded)])
        self.first_byte = np.cumsum([0, *map(len, pieces)])
        self.data = np.frombuffer(b"".join(pieces), dtype=np.uint8)

    def decode(self, objects: slice, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the masks of some objects of an image of `size` (height, width). [G, H, W]."""
        masks = np.zeros((objects.stop - objects.start, *size), dtype=bool)
        for row, index in enumerate(range(objects.start, objects.stop)):
            if self.kinds[index] == NO_MASK:
                continue
            span = range(self.first_piece[index], self.first_piece[index + 1])
            pieces = [self.data[self.first_byte[p] : self.first_byte[p + 1]] for p in span]
            masks[row] = rle_masks.decode(decode(int(self.kinds[index]), pieces, size))
        return masks
