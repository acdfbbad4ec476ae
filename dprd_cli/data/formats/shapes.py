"""Shapes as annotation programs keep them: rectangles, polygons, circles, masks, in groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.problems import Problems, plural
from dprd_cli.data.formats.segmentation import are_numbers, outline_fault
from dprd_cli.errors import short_repr
from dprd_cli.structures.sample import Rle, is_class_name

#: Corners x1, y1, x2, y2, ... in pixels.
Ring: TypeAlias = list[float]
_CIRCLE = 64  # corners of a circle's polygon


class ShapeError(Exception):
    """What is wrong with a shape, in words."""


@dataclass(frozen=True, slots=True)
class DrawnShape:
    """One shape.

    Args:
        name: Class name.
        where: The shape in words, for messages.
        box: xyxy in pixels, where it is a rectangle.
        rings: Polygons, where it is an outline.
        mask: Its pixels as COCO's RLE, where it is a mask.
        group: Shapes of one class and group are one object; None is a group of its own.
    """

    name: str
    where: str
    box: tuple[float, ...] | None = None
    rings: tuple[Ring, ...] = ()
    mask: Rle | None = None
    group: int | str | None = None


def merge_groups(shapes: Iterable[DrawnShape]) -> list[DrawnShape]:
    """Return objects: shapes of one class and group become one, in the place of the first."""
    groups: dict[object, list[DrawnShape]] = {}
    for number, shape in enumerate(shapes):
        key = (shape.name, shape.group) if shape.group is not None else number
        groups.setdefault(key, []).append(shape)
    return [_merged(some) if len(some) > 1 else some[0] for some in groups.values()]


def _merged(shapes: list[DrawnShape]) -> DrawnShape:
    """Return one object: the masks' union or all polygons, in the rectangle that bounds all."""
    bounds = np.array([shape_bounds(shape) for shape in shapes])
    box = (*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist())
    masks = [shape.mask for shape in shapes if shape.mask is not None]
    rings = tuple(ring for shape in shapes for ring in shape.rings)
    first = shapes[0]
    if not masks or outline_fault(rings):  # which the check will tell
        return DrawnShape(first.name, first.where, box, rings)
    height, width = masks[0]["size"]
    drawn = rle_masks.frPyObjects([list(ring) for ring in rings], height, width) if rings else []
    mask = rle_masks.merge([*_as_bytes(masks), *drawn])
    return DrawnShape(first.name, first.where, box, (), {**mask, "counts": mask["counts"].decode()})


def _as_bytes(masks: list[Rle]) -> list[Rle]:
    return [{**mask, "counts": mask["counts"].encode()} for mask in masks]


def shape_bounds(shape: DrawnShape) -> tuple[float, ...]:
    """Return xyxy."""
    if shape.box is not None:
        return shape.box
    if shape.mask is not None:
        x, y, w, h = rle_masks.toBbox(_as_bytes([shape.mask])[0]).tolist()
        return x, y, x + w, y + h
    xs, ys = [[value for ring in shape.rings for value in ring[axis::2]] for axis in (0, 1)]
    return min(xs), min(ys), max(xs), max(ys)


def ring_of(points: Any) -> Ring:
    """Turn points [[x, y], ...] into a ring.

    Raises:
        ShapeError: If they are something else, or fewer than three.
    """
    ring = numbers_of(points)
    if len(ring) < 6:
        raise ShapeError(f"a polygon of {plural(len(ring) // 2, 'point')}")
    return ring


def box_of(points: Any) -> tuple[float, float, float, float]:
    """Return xyxy of two or more points [[x, y], ...] in any order.

    Raises:
        ShapeError: If they are something else.
    """
    ring = numbers_of(points)
    if len(ring) < 4:
        raise ShapeError("a rectangle of one point")
    return min(ring[::2]), min(ring[1::2]), max(ring[::2]), max(ring[1::2])


def numbers_of(points: Any) -> Ring:
    """Return x1, y1, x2, y2, ... of points [[x, y], ...].

    Raises:
        ShapeError: If they are something else.
    """
    if not isinstance(points, list) or not all(isinstance(one, list) and len(one) == 2 for one in points):
        raise ShapeError(f"points are {short_repr(points)}, expected [[x, y], ...]")
    flat = [value for point in points for value in point]
    if not are_numbers(flat):
        raise ShapeError("a point is not of two finite numbers")
    return flat


def ellipse(x: float, y: float, across: float, down: float, angle: float = 0.0) -> Ring:
    """Return the outline of an ellipse about (x, y) with two radii, turned by an angle in radians."""
    turns = np.linspace(0, 2 * np.pi, _CIRCLE, endpoint=False)
    dx, dy = across * np.cos(turns), down * np.sin(turns)
    xs = x + dx * np.cos(angle) - dy * np.sin(angle)
    ys = y + dx * np.sin(angle) + dy * np.cos(angle)
    ring: Ring = np.stack([xs, ys], axis=1).ravel().tolist()
    return ring


class ShapeCollector:
    """Gathers the shapes of an image, and counts those that cannot be objects.

    Args:
        problems: Gets what is wrong.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.open: Counter[str] = Counter()

    def take(
        self, path: Path, entries: Any, parse: Callable[[Any, str], DrawnShape | str]
    ) -> tuple[DrawnShape, ...]:
        """Return the shapes of a file's entries.

        Args:
            path: The file, for messages.
            entries: A list of dicts, or what the file has in its place.
            parse: Gives a shape of an entry and its name, or the word for one that has no area.
        """
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self.problems.add("shapes", f"{path}: shapes are {short_repr(entries)}, expected a list", path)
            return ()
        shapes = []
        for number, entry in enumerate(entries, start=1):
            where = f"{path.name} shape {number}"
            try:
                shape = parse(entry, where)
            except ShapeError as error:
                self.problems.add("shape", f"{path}: shape {number}: {error}", where)
                continue
            if isinstance(shape, str):
                self.open[shape] += 1
            elif not is_class_name(shape.name):
                text = f"{path}: shape {number} has label {short_repr(shape.name)}, expected a word"
                self.problems.add("name", text, where)
            else:
                shapes.append(shape)
        return tuple(shapes)

    def summarise(self) -> None:
        """Note what was left out."""
        if self.open:
            kinds = ", ".join(f"{number} {word}" for word, number in self.open.items())
            text = f"{plural(self.open.total(), 'shape')} without an area left out ({kinds})"
            self.problems.count("no area shape", text, [], "note")
