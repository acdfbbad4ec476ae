"""Shapes of annotation programs, by hand."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.formats.shapes import (
    DrawnShape,
    ShapeCollector,
    ShapeError,
    box_of,
    ellipse,
    merge_groups,
    numbers_of,
    ring_of,
    shape_bounds,
)

SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]


def test_points_become_rings_and_boxes():
    assert numbers_of([[1, 2], [3.5, 4]]) == [1, 2, 3.5, 4]
    assert ring_of([[1, 1], [5, 1], [5, 5]]) == [1, 1, 5, 1, 5, 5]
    assert box_of([[9, 2], [4, 7]]) == (4, 2, 9, 7)
    for bad in (None, [1, 2], [[1]], [[1, "2"]], [[1, float("nan")]]):
        with pytest.raises(ShapeError):
            numbers_of(bad)
    for make, few in ((ring_of, [[1, 1], [2, 2]]), (box_of, [[1, 1]])):
        with pytest.raises(ShapeError, match="point"):
            make(few)


def test_an_ellipse_has_its_bounds():
    # radii 4 and 2, turned by a quarter: 2 across and 4 down
    ring = ellipse(10, 20, 4, 2, np.pi / 2)
    np.testing.assert_allclose(shape_bounds(DrawnShape("a", "", rings=(ring,))), (8, 16, 12, 24), atol=1e-6)


def test_a_group_is_one_object_and_a_class_of_its_own():
    shapes = [
        DrawnShape("cat", "1", rings=(SQUARE,), group=1),
        DrawnShape("dog", "2", rings=(SQUARE,), group=1),
        DrawnShape("cat", "3", box=(0, 0, 2, 9), group=1),
        DrawnShape("cat", "4", box=(0, 0, 2, 9)),
    ]
    cat, dog, other = merge_groups(shapes)
    assert (cat.name, cat.box, cat.rings) == ("cat", (0, 0, 5, 9), (SQUARE,))
    assert (dog.rings, other.box) == ((SQUARE,), (0, 0, 2, 9))


def test_masks_of_a_group_are_joined():
    whole = np.zeros((8, 9), dtype=np.uint8, order="F")
    whole[6:, 7:] = 1
    rle = rle_masks.encode(whole)
    mask = {"size": [8, 9], "counts": rle["counts"].decode()}
    shapes = [DrawnShape("cat", "1", mask=mask, group=1), DrawnShape("cat", "2", rings=(SQUARE,), group=1)]
    (one,) = merge_groups(shapes)
    assert rle_masks.area(one.mask) == 4 + 16
    assert shape_bounds(shapes[0]) == (7, 6, 9, 8)


def test_what_is_collected_and_what_is_told():
    problems = Problems()
    collector = ShapeCollector(problems)

    def parse(entry, where):
        if entry["kind"] == "bad":
            raise ShapeError("a mask that is no PNG")
        return (
            entry["kind"] if entry["kind"] == "point" else DrawnShape(entry["kind"], where, box=(0, 0, 1, 1))
        )

    entries = [{"kind": kind} for kind in ("cat", "point", "bad", "a\x1bb")]
    (cat,) = collector.take(Path("a.json"), entries, parse)
    assert collector.take(Path("b.json"), "none", parse) == ()
    collector.summarise()
    assert (cat.name, cat.where) == ("cat", "a.json shape 1")
    assert {kind: one.line() for kind, one in problems.kinds.items()} == {
        "shape": "a.json: shape 3: a mask that is no PNG",
        "name": "a.json: shape 4 has label 'a\\x1bb', expected a word",
        "shapes": "b.json: shapes are 'none', expected a list",
        "no area shape": "1 shape without an area left out (1 point)",
    }
