"""Masks as one polygon, for formats that have only one: the exact outlines of their pixels, joined."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.segmentation import NO_MASK, POLYGONS, decode, encode
from dprd_cli.ops.outlines import Ring, edge_outlines

_MAX_PAIRS = 1_000_000  # of corners that are compared at once


def join(rings: list[Ring]) -> Ring:
    """Join rings into one, by bridges of no width that are crossed there and back.

    Law: filled by the even-odd rule, it covers what the rings do.

    Args:
        rings: Corners (x, y) of each. Each [n, 2]

    Returns:
        Corners (x, y). [m, 2]
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
    rings = edge_outlines(rle_masks.decode(decode(kind, pieces, size)).astype(bool))
    return (join(rings), len(rings)) if rings else (None, 0)


def _overlap(rings: list[Ring], size: tuple[int, int]) -> bool:
    """Whether polygons share pixels."""
    drawn = rle_masks.frPyObjects([ring.ravel().tolist() for ring in rings], *size)
    return int(rle_masks.area(drawn).sum()) != int(rle_masks.area(rle_masks.merge(drawn)))
