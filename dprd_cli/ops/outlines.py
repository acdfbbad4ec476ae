"""Outlines of masks: through the centres of their outermost pixels, or along the edges of these."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

#: Corners (x, y) of a closed outline, in pixels. [n, 2]
Ring: TypeAlias = NDArray[np.float64]
#: A closed path of whole pixels, each (x, y) a neighbour of the one before. [n, 2]
PixelPath: TypeAlias = NDArray[np.int64]


def border_paths(mask: NDArray[np.bool_], *, holes: bool = True) -> list[PixelPath]:
    """Return the outermost pixels of a mask's pieces, one after the other around each piece.

    Law: filled and drawn, the paths of the pieces alone give the mask back with its holes filled.

    Args:
        mask: An object. [H, W]
        holes: The pixels around each hole too.
    """
    mode = cv2.RETR_CCOMP if holes else cv2.RETR_EXTERNAL
    found, _ = cv2.findContours(mask.astype(np.uint8), mode, cv2.CHAIN_APPROX_NONE)
    return [path[:, 0].astype(np.int64) for path in found]


def edge_outlines(mask: NDArray[np.bool_]) -> list[Ring]:
    """Return the outlines of a mask's pieces and holes, along the edges of its pixels.

    Law: filled by the even-odd rule, they are the mask again.

    Args:
        mask: An object. [H, W]

    Returns:
        Corners (x, y) of each outline, in whole pixels. Each [n, 2]
    """
    # Of a mask twice as large, the border's pixel centres are 2c and 2c + 1: the first is at the left edge of
    # column c, the second at its right edge, c + 1.
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    rings = [corners((path + 1) // 2) for path in border_paths(doubled)]
    return [ring.astype(np.float64) for ring in rings if len(ring) >= 3]


def corners(path: PixelPath) -> PixelPath:
    """Drop the points of a closed path [n, 2] that repeat the one before or lie on a line. [m, 2]."""
    moved = (path != np.roll(path, 1, axis=0)).any(axis=1)
    if not moved.any():
        return path[:1]
    path = path[moved]
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0  # a spike
    return np.asarray(path[turns | back])
