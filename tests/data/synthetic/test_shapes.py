"""Articulated objects: pairs of classes of the same parts, turned, scaled and outlined."""

import numpy as np
import pytest

from dprd_cli.data.synthetic.shapes import CLASSES, draw_pose, outlines, transform

#: Classes that are drawn from the same parts.
PAIRS = (("tadpole", "dumbbell"), ("flower", "fan"), ("lizard", "squid"))


@pytest.mark.parametrize("pair", PAIRS)
def test_pair_has_the_same_parts_in_another_arrangement(pair):
    for seed in range(50):
        one, two = (draw_pose(name, np.random.default_rng(seed)) for name in pair)
        kinds = []
        for parts in (one, two):
            length = np.hypot(*(parts[:, 2:4] - parts[:, :2]).T)
            kinds.append(sorted(map(tuple, np.round(np.column_stack([length, parts[:, 4:]]), 9).tolist())))
        assert kinds[0] == kinds[1]
        assert not np.allclose(one, two)


def test_pairs_cover_the_classes():
    assert [name for pair in PAIRS for name in pair] == list(CLASSES)


def test_turning_and_scaling_keep_the_parts():
    parts = draw_pose("lizard", np.random.default_rng(0))
    moved = transform(parts, 0.7, 3.0)
    length, moved_length = (np.hypot(*(p[:, 2:4] - p[:, :2]).T) for p in (parts, moved))
    np.testing.assert_allclose(moved_length, 3 * length)
    np.testing.assert_allclose(moved[:, 4:], 3 * parts[:, 4:])
    np.testing.assert_allclose(transform(moved, -0.7, 1 / 3), parts, atol=1e-12)


def test_outline_of_a_capsule():
    # from (0, 0) to (4, 0) with radii 1 and 2: reaches from x = -1 to x = 4 + 2, and 2 up and down
    polygon = outlines(np.array([[0.0, 0, 4, 0, 1, 2]]))[0]
    np.testing.assert_allclose(polygon.min(axis=0), [-1, -2], atol=1e-12)
    np.testing.assert_allclose(polygon.max(axis=0), [6, 2], atol=1e-12)


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_is_about_one_unit_long(name):
    for seed in range(20):
        points = outlines(draw_pose(name, np.random.default_rng(seed))).reshape(-1, 2)
        assert 0.5 < (points.max(axis=0) - points.min(axis=0)).max() < 1.5


def test_a_disc_is_a_part_without_length():
    polygon = outlines(np.array([[1.0, 2, 1, 2, 3, 3]]))[0]
    np.testing.assert_allclose(np.hypot(*(polygon - [1, 2]).T), 3)
