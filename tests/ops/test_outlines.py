"""Outlines of masks: by hand, and filled again they are the mask."""

import cv2
import numpy as np
import pytest

from dprd_cli.ops.outlines import border_paths, corners, edge_outlines


def random_mask(seed):
    """A mask of pieces, holes, and corners that touch."""
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 30, size=2)) < rng.random()
    return mask.repeat(3, axis=0).repeat(2, axis=1) if seed % 2 else mask


def test_outlines_by_hand():
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:4, 2:5] = True
    (ring,) = edge_outlines(mask)
    assert sorted(map(tuple, ring.tolist())) == [(2, 1), (2, 4), (5, 1), (5, 4)]  # edges of pixels
    mask[2, 3] = False
    assert sorted(len(ring) for ring in edge_outlines(mask)) == [4, 4]  # the hole has an outline too
    assert edge_outlines(np.zeros((5, 6), dtype=bool)) == []


@pytest.mark.parametrize("seed", range(40))
def test_edges_filled_by_the_even_odd_rule_are_the_mask(seed):
    mask = random_mask(seed)
    rings = edge_outlines(mask)
    centres = np.arange(mask.shape[1]) + 0.5
    again = np.zeros_like(mask)
    for row in range(mask.shape[0]):
        # how many vertical edges of all rings lie left of each pixel's centre, at its height
        crossed = np.zeros(len(centres), dtype=int)
        for ring in rings:
            for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                assert x1 == x2 or y1 == y2
                if min(y1, y2) <= row < max(y1, y2):
                    crossed += x1 < centres
        again[row] = crossed % 2 == 1
    np.testing.assert_array_equal(again, mask)


@pytest.mark.parametrize("seed", range(40))
def test_border_pixels_are_those_at_the_edge_of_the_mask(seed):
    mask = random_mask(seed)
    # a pixel is inside where it and its four neighbours are set
    inside = cv2.erode(np.pad(mask.astype(np.uint8), 1), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    expected = mask & (inside[1:-1, 1:-1] == 0)
    again = np.zeros_like(mask)
    for path in border_paths(mask):
        steps = np.abs(path - np.roll(path, 1, axis=0)).max(axis=1)
        assert len(path) == 1 or (steps == 1).all()  # each a neighbour of the one before
        again[path[:, 1], path[:, 0]] = True
    np.testing.assert_array_equal(again, expected)
    outer = border_paths(mask, holes=False)
    assert {tuple(map(tuple, path)) for path in outer} <= {
        tuple(map(tuple, path)) for path in border_paths(mask)
    }


def test_corners_by_hand():
    square = border_paths(np.ones((4, 3), dtype=bool))[0]
    assert len(square) == 2 * (4 + 3) - 4
    assert sorted(map(tuple, corners(square).tolist())) == [(0, 0), (0, 3), (2, 0), (2, 3)]
    line = border_paths(np.ones((1, 5), dtype=bool))[0]  # there and back
    assert sorted(map(tuple, corners(line).tolist())) == [(0, 0), (4, 0)]
    assert corners(border_paths(np.ones((1, 1), dtype=bool))[0]).tolist() == [[0, 0]]
    assert border_paths(np.zeros((3, 3), dtype=bool)) == []


@pytest.mark.parametrize("seed", range(40))
def test_corners_are_those_that_opencv_keeps(seed):
    mask = random_mask(seed)
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    ours = [corners(path) for path in border_paths(mask)]
    assert [path.tolist() for path in ours] == [path[:, 0].tolist() for path in found]
