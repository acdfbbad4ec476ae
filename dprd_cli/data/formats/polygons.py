"""Masks as polygons: the exact outlines of their pixels, joined into one ring where a format has only one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.segmentation import NO_MASK, POLYGONS, decode, encode

Ring = NDArray[np.float64]
_MAX_PAIRS = 1_000_000  # of corners that are compared at once


def outlines(mask: NDArray[np.bool_]) -> list[Ring]:
    """Return the outlines of a mask's pieces and holes, along the edges of its pixels.

    Law: filled by the even-odd rule, they are the mask again.

    Args:
        mask: An object. [H, W]

    Returns:
        Corners (x, y) of each outline, in whole pixels. Each [n, 2]
    """
    # Of a mask twice as large, OpenCV's contours run through the border's pixel centres 2c and 2c + 1: the
    # first is at the left edge of column c, the second at its right edge, c + 1.
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    found, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_corners((contour[:, 0].astype(np.int64) + 1) // 2) for contour in found]
    return [ring.astype(np.float64) for ring in rings if len(ring) >= 3]


def _corners(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop the points of a closed path [n, 2] that repeat the one before or lie on a straight line."""
    path = path[(path != np.roll(path, 1, axis=0)).any(axis=1)]
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0  # a spike
    return np.asarray(path[turns | back])


def join(rings: list[Ring]) -> Ring:
    """Join rings into one, by bridges of no width that are crossed there and back.

    Law: filled by the even-odd rule, it covers what the rings do.
    """
    joined, *others = sorted(rings, key=len, reverse=True)
    for ring in others:
        step = 1 + len(joined) * len(ring) // _MAX_PAIRS  # any corner will do, a near one looks better
        distances = ((joined[::step, None] - ring[None]) ** 2).sum(axis=2)
        nearest, start = divmod(int(distances.argmin()), len(ring))
        at, turned = nearest * step, np.roll(ring, -start, axis=0)
        joined = np.concatenate([joined[: at + 1], turned, turned[:1], joined[at:]])
    return joined


def one_ring(segmentation: Any, size: tuple[int, int]) -> tuple[Ring | None, int]:
    """Return a COCO segmentation as one polygon.

    Args:
        segmentation: Polygons, an RLE, or nothing.
        size: (height, width) of the image.

    Returns:
        The corners (x, y) in pixels [n, 2], or None where there is no mask; of how many rings it was joined.
    """
    kind, pieces = encode(segmentation, size)
    if kind == NO_MASK:
        return None, 0
    if kind == POLYGONS:
        rings = [np.frombuffer(piece, dtype=np.float64).reshape(-1, 2) for piece in pieces]
        if len(rings) == 1 or not _overlap(rings, size):
            return join(rings), len(rings)
    rings = outlines(rle_masks.decode(decode(kind, pieces, size)).astype(bool))
    return (join(rings), len(rings)) if rings else (None, 0)


def _overlap(rings: list[Ring], size: tuple[int, int]) -> bool:
    """Whether polygons share pixels."""
    drawn = rle_masks.frPyObjects([ring.ravel().tolist() for ring in rings], *size)
    return int(rle_masks.area(drawn).sum()) != int(rle_masks.area(rle_masks.merge(drawn)))
