"""Signposts: objects whose class can only be read at one place, which a part has to go to.

An object is grey, and around it sit square tags in four colours. One of them tells the class; where it is,
the level decides:

| level | the telling tag |
|---|---|
| `same` | outside the object, always to its right: one template is enough |
| `pointed` | outside the object, where the hand on it points |
| `articulated` | at the end of the one of its four jointed limbs that the hand on it points along |

Other tags sit to the other sides, so that no bag of features tells the class. With two tags or more in a row
the class is the sum of their colours' numbers, and a part has to read them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dprd_cli.config.schema import SignpostConfig
from dprd_cli.data.synthetic.base import BuiltInDataset, Scene
from dprd_cli.data.synthetic.shapes import Rng, outlines
from dprd_cli.structures.sample import ImageArray, Split

COLORS = {"red": (230, 30, 30), "green": (30, 220, 40), "blue": (40, 70, 240), "yellow": (240, 230, 30)}
SIDES = 4  # around an object, where tags can be
TAG = 0.12  # half a tag's side, in sizes of the object
MARGIN = 0.2  # beyond the middle of the tags, in sizes of the object
MOST_OBJECTS = 3
TRIES = 40
_CIRCLE = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_FIXED_BITS = 4  # polygon corners go to OpenCV in sixteenths of a pixel


@dataclass(frozen=True, slots=True)
class _Post:
    """An object before it is painted.

    `middle` is (x, y) and `size` a length, in pixels; `angles` are the sides' directions in radians, of which
    the first is the telling one; `bends` turn the lower limbs; `tags` are the kinds of each side's tags, -1
    where a side has none. [2], [4], [4], [4, T]
    """

    middle: NDArray[np.float64]
    size: float
    angles: NDArray[np.float64]
    bends: NDArray[np.float64]
    tags: NDArray[np.int64]

    @property
    def label(self) -> int:
        """The class."""
        return int(self.tags[0].sum()) % len(COLORS)


class SignpostDataset(BuiltInDataset):
    """A split of signposts; see `BuiltInDataset`.

    Args:
        split: `train` or `val`.
        length: Number of images.
        size: Side of the images in pixels.
        seed: Another seed gives other images.
        settings: The level, and how hard it is.
    """

    kind = "signpost"
    supercategory = "signpost"
    class_names = tuple(COLORS)

    def __init__(
        self,
        split: Split,
        length: int,
        size: int = 160,
        seed: int = 0,
        settings: SignpostConfig | None = None,
    ) -> None:
        super().__init__(split, length, size, seed)
        self.settings = settings or SignpostConfig()

    def draw(self, rng: Rng) -> Scene:
        """Draw an image; all randomness is the generator's."""
        posts = _lay_out(rng, self.size, self.settings)
        image = _paint_ground(rng, self.size)
        masks = np.zeros((len(posts), self.size, self.size), dtype=np.bool_)
        for post, mask in zip(posts, masks, strict=True):
            _paint(rng, image, mask, post, self.settings)
        cues = np.array([_tag_middles(post, self.settings)[0] for post in posts], dtype=np.float32)
        return Scene(_add_noise(rng, image), _labels(posts), masks, cues)

    def draw_labels(self, rng: Rng) -> NDArray[np.int64]:
        """Return the labels that `draw` gives with the same generator, without painting. [G]."""
        return _labels(_lay_out(rng, self.size, self.settings))


def _labels(posts: list[_Post]) -> NDArray[np.int64]:
    return np.array([post.label for post in posts], dtype=np.int64)


def _lay_out(rng: Rng, side: int, settings: SignpostConfig) -> list[_Post]:
    """Place one to three objects so that no tag is outside the image or on another object."""
    posts: list[_Post] = []
    reaches: list[float] = []
    share = 0.5 + settings.distance + MARGIN  # how far an object and its tags reach, in its size
    for _ in range(int(rng.integers(1, MOST_OBJECTS, endpoint=True))):
        for _ in range(TRIES):
            size = min(rng.uniform(*settings.sizes) * side, 0.49 * side / share)
            reach = size * share
            middle = rng.uniform(reach, side - reach, 2)
            if all(
                np.hypot(*(middle - post.middle)) > reach + other
                for post, other in zip(posts, reaches, strict=True)
            ):
                posts.append(_draw_post(rng, middle, size, settings))
                reaches.append(reach)
                break
    return posts


def _draw_post(rng: Rng, middle: NDArray[np.float64], size: float, settings: SignpostConfig) -> _Post:
    turn = 0.0 if settings.level == "same" else rng.uniform(0, 2 * np.pi)
    jitter = rng.uniform(-0.25, 0.25, SIDES) * (np.arange(SIDES) > 0)
    tags = rng.integers(len(COLORS), size=(SIDES, settings.tags))
    hidden = rng.random(SIDES) >= settings.distractors
    hidden[0] = False
    tags[hidden] = -1
    bends = rng.uniform(-1.2, 1.2, SIDES)
    return _Post(middle, size, turn + np.arange(SIDES) * np.pi / 2 + jitter, bends, tags)


def _direction(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors. [n] -> [n, 2]."""
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def _limbs(post: _Post, settings: SignpostConfig) -> NDArray[np.float64]:
    """Return hip, knee and foot of each limb. [4, 3, 2]."""
    length = 0.5 * (0.25 + settings.distance) * post.size
    hip = post.middle + 0.25 * post.size * _direction(post.angles)
    knee = hip + length * _direction(post.angles)
    return np.stack((hip, knee, knee + length * _direction(post.angles + post.bends)), axis=1)


def _tag_middles(post: _Post, settings: SignpostConfig) -> NDArray[np.float64]:
    """Return where the middle of each side's row of tags is. [4, 2]."""
    if settings.level == "articulated":
        return np.asarray(_limbs(post, settings)[:, 2])
    return post.middle + post.size * (0.5 + settings.distance) * _direction(post.angles)


def _paint(
    rng: Rng, image: ImageArray, mask: NDArray[np.bool_], post: _Post, settings: SignpostConfig
) -> None:
    """Paint an object and its tags into an image [size, size, 3], and the object into its mask."""
    grey = rng.integers(130, 200, 3).tolist()
    shown = mask.view(np.uint8)
    jointed = settings.level == "articulated"
    radius = (0.28 if jointed else 0.5) * post.size
    if jointed:
        half = 0.06 * post.size
        for hip, knee, foot in _limbs(post, settings):
            pieces = np.array([[*hip, *knee, half, half], [*knee, *foot, half, half]])
            for polygon in outlines(pieces):
                _fill(image, polygon, grey)
                _fill(shown, polygon, 1)
    body = post.middle + radius * _direction(_CIRCLE)
    _fill(image, body, grey)
    _fill(shown, body, 1)
    along = radius * _direction(post.angles[:1])[0]
    across = 0.075 * post.size * np.array([-along[1], along[0]]) / radius
    hand = np.array([across, along + across, along - across, -across])
    _fill(image, post.middle + hand, [0, 0, 0])
    for middle, angle, kinds in zip(_tag_middles(post, settings), post.angles, post.tags, strict=True):
        for corners, kind in zip(_tags(middle, angle, post.size, len(kinds)), kinds, strict=True):
            if kind >= 0:
                _fill(image, corners, [*COLORS.values()][kind])
                if jointed:
                    _fill(shown, corners, 1)


def _tags(middle: NDArray[np.float64], angle: float, size: float, count: int) -> NDArray[np.float64]:
    """Return the corners of a row of upright tags across a direction, as wide as one tag alone. [T, 4, 2]."""
    half = TAG * size / count
    across = 2 * half * np.array([-np.sin(angle), np.cos(angle)])
    middles = middle + (np.arange(count) - (count - 1) / 2)[:, None] * across
    square = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return np.asarray(middles[:, None] + square)


def _fill(canvas: NDArray[np.uint8], polygon: NDArray[np.float64], value: int | list[int]) -> None:
    """Fill a convex polygon whose corners [n, 2] are in pixels, 0 being the image's edge."""
    points = np.rint((polygon - 0.5) * (1 << _FIXED_BITS)).astype(np.int32)
    cv2.fillConvexPoly(canvas, points, value, cv2.LINE_8, _FIXED_BITS)


def _paint_ground(rng: Rng, side: int) -> ImageArray:
    coarse = rng.integers(30, 170, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)


def _add_noise(rng: Rng, image: ImageArray) -> ImageArray:
    noise = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape) & 31
    return np.asarray(cv2.subtract(cv2.add(image, noise), np.full_like(image, 16)), dtype=np.uint8)
