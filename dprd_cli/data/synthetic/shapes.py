"""Articulated objects of the built-in data set: their classes, their parts and their poses.

A part is a tapered capsule, a row (x0, y0, x1, y1, r0, r1): a segment between two joints and a radius at
each. An object is an array of parts in drawing order. The classes come in pairs that have the same parts and
differ only in how these are arranged:

| pair | first | second |
|---|---|---|
| links, joined end to end | `tadpole`: from large to small | `dumbbell`: large at both ends |
| petals around a hub | `flower`: all around | `fan`: gathered on one side |
| head, body, four two-segment limbs | `lizard`: two limbs at each end | `squid`: all at the tail |

Sizes, colours and numbers of parts follow the same distribution in both members of a pair, and every object
is turned by a random angle, so none of these tells the class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Parts = NDArray[np.float64]  # [P, 6]
Rng = np.random.Generator

_ARC = np.linspace(-np.pi / 2, np.pi / 2, 9)


def _direction(angle: float) -> NDArray[np.float64]:
    return np.array([np.cos(angle), np.sin(angle)])


def _chain(rng: Rng, order: Callable[[int], list[int]]) -> Parts:
    """Draw links of falling size, put them in `order` (0 is the largest), and bend every joint."""
    num = int(rng.integers(5, 7))
    sizes = 0.145 * 0.76 ** np.arange(num) * rng.uniform(0.94, 1.06, num)
    bends = rng.uniform(-0.45, 0.45) + rng.uniform(-0.6, 0.6, num)
    joint, heading, rows = np.zeros(2), 0.0, []
    for size, bend in zip(sizes[order(num)], bends, strict=True):
        heading += bend
        end = joint + 1.25 * size * _direction(heading)
        rows.append([*joint, *end, size, size])
        joint = end + 0.5 * size * _direction(heading)
    return np.array(rows)


def _ends_first(num: int) -> list[int]:
    """Return the order 0, 2, 4, …, 5, 3, 1: the largest at both ends."""
    return [*range(0, num, 2), *reversed(range(1, num, 2))]


def _petals(rng: Rng, spread: tuple[float, float]) -> Parts:
    """Draw a hub and petals whose directions fill a share, drawn from `spread`, of the full turn."""
    num = int(rng.integers(5, 7))
    lengths = rng.uniform(0.22, 0.36, num)
    widths = rng.uniform(0.075, 0.105, num)
    swirl = rng.uniform(-0.6, 0.6)
    jitter = rng.uniform(-0.12, 0.12, num)
    share = rng.uniform(*spread)
    rows = []
    for k in range(num):
        angle = 2 * np.pi * share * (k + jitter[k]) / num
        root = 0.1 * _direction(angle)
        rows.append([*root, *(root + lengths[k] * _direction(angle + swirl)), 0.035, widths[k]])
    return np.array([*rows, [0, 0, 0, 0, 0.125, 0.125]])


def _limbed(rng: Rng, roots: NDArray[np.float64], angles: NDArray[np.float64]) -> Parts:
    """Draw a body with a head at its left end and four limbs of two segments.

    Args:
        rng: Random numbers.
        roots: Joints of the limbs with the body. [4, 2]
        angles: Mean directions of the limbs in radians, 0 pointing to the tail. [4]
    """
    scale = rng.uniform(0.9, 1.1, 4)
    swing = rng.uniform(-0.5, 0.5, 4)
    knees = rng.uniform(0.2, 1.1, 4) * rng.choice([-1.0, 1.0], 4)
    rows = []
    for k in range(4):
        hip, angle = roots[k], angles[k] + swing[k]
        knee = hip + 0.17 * scale[k] * _direction(angle)
        foot = knee + 0.15 * scale[k] * _direction(angle + knees[k])
        rows += [[*knee, *foot, 0.046, 0.036], [*hip, *knee, 0.056, 0.046]]
    girth = rng.uniform(0.085, 0.105)
    head = np.array([-0.2, 0.0]) + 0.17 * _direction(np.pi + rng.uniform(-0.5, 0.5))
    return np.array([*rows, [-0.2, 0, 0.2, 0, girth, girth], [*head, *head, 0.1, 0.1]])


def _lizard(rng: Rng) -> Parts:
    roots = np.array([[-0.18, -0.07], [-0.18, 0.07], [0.2, -0.07], [0.2, 0.07]])
    return _limbed(rng, roots, np.array([-1.6, 1.6, -1.3, 1.3]))


def _squid(rng: Rng) -> Parts:
    roots = np.array([[0.2, -0.07], [0.25, -0.03], [0.25, 0.03], [0.2, 0.07]])
    return _limbed(rng, roots, np.array([-1.15, -0.38, 0.38, 1.15]))


CLASSES: dict[str, Callable[[Rng], Parts]] = {
    "tadpole": lambda rng: _chain(rng, lambda num: list(range(num))),
    "dumbbell": lambda rng: _chain(rng, _ends_first),
    "flower": lambda rng: _petals(rng, (1.0, 1.0)),
    "fan": lambda rng: _petals(rng, (0.38, 0.5)),
    "lizard": _lizard,
    "squid": _squid,
}


def draw_pose(name: str, rng: Rng) -> Parts:
    """Draw an object of one class in random pose, unrotated, about one unit long when stretched out.

    Both members of a pair draw the same parts (lengths and radii) from the same random numbers.

    Args:
        name: Class name, a key of `CLASSES`.
        rng: Random numbers.

    Returns:
        Parts in drawing order, (x0, y0, x1, y1, r0, r1) in units of the object. [P, 6]
    """
    return CLASSES[name](rng)


def transform(parts: Parts, angle: float, scale: float) -> Parts:
    """Turn parts by `angle` (radians) about the origin and scale them, radii included. [P, 6]."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.hstack([parts[:, :2] @ turn, parts[:, 2:4] @ turn, parts[:, 4:] * scale])


def outlines(parts: Parts) -> NDArray[np.float64]:
    """Return the polygon of every part: a half circle around each joint. [P, 18, 2]."""
    delta = parts[:, 2:4] - parts[:, :2]
    heading = np.arctan2(delta[:, 1], delta[:, 0])[:, None]  # 0 for a disc
    ends = []
    for joint, radius, turn in ((parts[:, 2:4], parts[:, 5], 0.0), (parts[:, :2], parts[:, 4], np.pi)):
        angles = heading + turn + _ARC
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=2)
        ends.append(joint[:, None] + radius[:, None, None] * circle)
    return np.concatenate(ends, axis=1)
