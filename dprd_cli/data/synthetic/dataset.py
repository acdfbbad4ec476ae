"""The built-in data set: articulated objects on cluttered backgrounds, generated on the fly.

Image `index` is a pure function of (seed, split, index, size). It is laid out front to back on a canvas
three times as fine, so that the visible area of an object is final once it is placed; it is painted back to
front.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.synthetic.base import BuiltInDataset, Scene
from dprd_cli.data.synthetic.painting import (
    Bytes,
    Color,
    Sprite,
    draw_sprite,
    finish,
    paint_background,
    paint_sprite,
)
from dprd_cli.data.synthetic.shapes import CLASSES, Rng, draw_pose, transform

FINE = 3  # canvas pixels an image pixel, each way
MIN_VISIBLE = 0.6  # share of an object that must be visible
MIN_PIXELS = 12  # visible image pixels
LENGTHS = (0.15, 0.92)  # length of a stretched object over the image's side
MIN_LENGTH = 14.0  # pixels, however small the image
MAX_TILT = np.deg2rad(35)  # objects stand upright, as they mostly do in photographs
MAX_OBJECTS = 4
TRIES = 8


@dataclass(frozen=True, slots=True)
class _SceneObject:
    """An object: the rows and columns of the canvas it covers, and which of its own these show.

    `visible` is its mask in the image. [size, size]
    """

    label: int
    sprite: Sprite
    canvas: tuple[slice, slice]
    crop: tuple[slice, slice]
    visible: NDArray[np.bool_]


class SyntheticDataset(BuiltInDataset):
    """A split of jointed figures; see `BuiltInDataset`."""

    kind = "synthetic"
    supercategory = "articulated"
    class_names = tuple(CLASSES)

    def draw(self, rng: Rng) -> Scene:
        """Draw an image; all randomness is the generator's."""
        placed = _lay_out(rng, self.size)
        masks = np.array([p.visible for p in placed], dtype=np.bool_).reshape(-1, self.size, self.size)
        return Scene(_paint(rng, self.size, placed), _labels(placed), masks)

    def draw_labels(self, rng: Rng) -> NDArray[np.int64]:
        """Return the labels that `draw` gives, which takes most of its time. [G]."""
        return _labels(_lay_out(rng, self.size))


def _labels(placed: list[_SceneObject]) -> NDArray[np.int64]:
    return np.array([p.label for p in placed], dtype=np.int64)


def _lay_out(rng: Rng, size: int) -> list[_SceneObject]:
    """Place up to `MAX_OBJECTS` objects front to back, leaving out those that show too little."""
    free = np.full((FINE * size, FINE * size), 255, np.uint8)
    placed: list[_SceneObject] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        label = int(rng.integers(len(CLASSES)))
        sprite = _draw_object(rng, SyntheticDataset.class_names[label], size)
        for _ in range(TRIES):
            found = _try(_position(rng, sprite, placed, len(free)), label, sprite, free)
            if found is not None:
                region = free[found.canvas]
                region[sprite.mask[found.crop] > 0] = 0
                placed.append(found)
                break
    return placed


def _draw_object(rng: Rng, name: str, size: int) -> Sprite:
    """Draw an object in random pose, direction and scale, in canvas pixels."""
    low, high = np.log(max(MIN_LENGTH, LENGTHS[0] * size)), np.log(LENGTHS[1] * size)
    length = FINE * float(np.exp(rng.uniform(low, high)))
    parts = transform(draw_pose(name, rng), rng.uniform(-MAX_TILT, MAX_TILT), length)
    return draw_sprite(rng, parts, outline=max(1, round(0.016 * length)))


def _position(rng: Rng, sprite: Sprite, placed: list[_SceneObject], side: int) -> tuple[int, int]:
    """Draw the (y, x) of a sprite's upper left corner: half of them near another object."""
    extent = np.array(sprite.mask.shape)
    if placed and rng.uniform() < 0.5:
        other = placed[int(rng.integers(len(placed)))]
        middle = np.array([(s.start + s.stop) / 2 for s in other.canvas])
        reach = (extent + np.array(other.sprite.mask.shape)) / 2
        corner = middle + rng.uniform(-0.75, 0.75, 2) * reach - extent / 2
    else:
        corner = np.sort([-0.15 * extent, side - 0.85 * extent], axis=0)
        corner = rng.uniform(corner[0], corner[1])
    return int(corner[0]), int(corner[1])


def _try(corner: tuple[int, int], label: int, sprite: Sprite, free: Bytes) -> _SceneObject | None:
    """Return the object with its upper left corner at `corner`, or None where too little of it is visible."""
    spans = [
        (max(0, at), min(side, at + n), at)
        for at, n, side in zip(corner, sprite.mask.shape, free.shape, strict=True)
    ]
    if any(stop <= start for start, stop, _ in spans):
        return None
    canvas = (slice(*spans[0][:2]), slice(*spans[1][:2]))
    rows, columns = (slice(start - at, stop - at) for start, stop, at in spans)
    crop = (rows, columns)
    shown = np.zeros_like(free)
    shown[canvas] = cv2.bitwise_and(sprite.mask[crop], free[canvas])
    if cv2.countNonZero(shown) < MIN_VISIBLE * sprite.area:
        return None
    size = len(free) // FINE
    visible = cv2.resize(shown, (size, size), interpolation=cv2.INTER_AREA) >= 128
    if np.count_nonzero(visible) < MIN_PIXELS:
        return None
    return _SceneObject(label, sprite, canvas, crop, visible)


def _paint(rng: Rng, size: int, placed: list[_SceneObject]) -> Bytes:
    """Paint the background and, back to front, the objects. [size, size, 3]."""
    canvas = paint_background(rng, size, FINE)
    painted: list[tuple[_SceneObject, Color]] = []
    for item in reversed(placed):
        region = canvas[item.canvas]
        behind = [region[::4, ::4].reshape(-1, 3).mean(axis=0)]
        behind += [color for other, color in painted if _meet(item, other)]
        painted.append((item, paint_sprite(rng, region, item.sprite, item.crop, np.array(behind))))
    return finish(rng, canvas, size)


def _meet(one: _SceneObject, other: _SceneObject) -> bool:
    """Return whether the extents of two objects overlap."""
    spans = zip(one.canvas, other.canvas, strict=True)
    return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in spans)
