"""Turning an image and its objects: by quarters, which is exact, and by any angle."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.transforms import FULL, MIN_SIDE, PADDING, mask_box, move_cues
from dprd_cli.structures.sample import Sample


def turn(sample: Sample, quarters: int) -> Sample:
    """Turn counter-clockwise by quarters of a circle; no pixel changes its value.

    `turn(turn(s, a), b) == turn(s, a + b)`, and four quarters are none: to the bit for image and masks, and
    for boxes up to the rounding of side - x.
    """
    height, width = sample.image.shape[:2]
    x1, y1, x2, y2 = sample.boxes.T
    corners = (
        (x1, y1, x2, y2),
        (y1, width - x2, y2, width - x1),
        (width - x2, height - y2, width - x1, height - y1),
        (height - y2, x1, height - y1, x2),
    )
    moves = (
        (((1, 0), (0, 1)), (0, 0)),
        (((0, 1), (-1, 0)), (0, width)),
        (((-1, 0), (0, -1)), (width, height)),
        (((0, -1), (1, 0)), (height, 0)),
    )
    masks = sample.masks
    return replace(
        sample,
        cues=move_cues(sample, *moves[quarters % 4]),
        image=np.ascontiguousarray(np.rot90(sample.image, quarters)),
        boxes=np.stack(corners[quarters % 4], axis=1),
        masks=None if masks is None else np.ascontiguousarray(np.rot90(masks, quarters, axes=(1, 2))),
    )


def rotate(sample: Sample, degrees: float) -> Sample:
    """Turn counter-clockwise about the middle of the frame, which stays; what comes in from outside is grey.

    The image and the masks are interpolated bilinearly; a pixel is an object's where its mask reaches one
    half. A box becomes the tight one around its turned mask. Without a mask it becomes that of the turned
    ellipse in it: an estimate, right for objects that are ellipses, where the bounds of the turned box would
    be too large for every object that does not fill its corners. Objects that leave the frame are dropped.
    At 90 degrees a square image is turned as `turn` turns it.

    Args:
        sample: An image with its objects.
        degrees: Angle.

    Source: Kalra et al. 2021, "Towards Rotation Invariance in Object Detection", for the ellipse.
    """
    height, width = sample.image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    size = (width, height)
    image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(PADDING,) * 3)
    limit = np.array([width, height] * 2)
    bounds = _ellipse_bounds(sample.boxes, np.array([width, height]) / 2, np.deg2rad(degrees))
    boxes = np.clip(bounds, 0, limit).astype(np.float32)
    keep = np.asarray(((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(axis=1))
    masks = None
    if sample.masks is not None:
        masks = np.zeros(sample.masks.shape, dtype=bool)
        for row in np.flatnonzero(sample.has_mask):
            grey = sample.masks[row].view(np.uint8) * FULL
            masks[row] = cv2.warpAffine(grey, matrix, size, flags=cv2.INTER_LINEAR) >= FULL // 2
            boxes[row] = mask_box(masks[row])
            keep[row] = masks[row].any()
    cos, sin, middle = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)), np.array(size) / 2
    turn_matrix = np.array([[cos, sin], [-sin, cos]])  # y points down
    cues = move_cues(sample, turn_matrix.tolist(), (middle - turn_matrix @ middle).tolist())
    turned = replace(sample, image=np.asarray(image, dtype=np.uint8), boxes=boxes, masks=masks, cues=cues)
    return turned.take(keep)


def _ellipse_bounds(
    boxes: NDArray[np.float32], middle: NDArray[np.float64], angle: float
) -> NDArray[np.float64]:
    """Return the bounds of the ellipses in boxes [G, 4], turned by radians about `middle` (x, y). [G, 4]."""
    cos, sin = np.cos(angle), np.sin(angle)
    corners = boxes.astype(np.float64)
    centres = (corners[:, :2] + corners[:, 2:]) / 2 - middle
    halves = (corners[:, 2:] - corners[:, :2]) / 2
    centres = centres @ np.array([[cos, -sin], [sin, cos]]) + middle  # y points down
    halves = np.sqrt(halves**2 @ np.array([[cos**2, sin**2], [sin**2, cos**2]]))
    return np.concatenate([centres - halves, centres + halves], axis=1)
