"""Shares of a map in a region, worked by hand."""

import numpy as np
import pytest

from dprd_cli.gradcam.measures import RegionMeasures, box_region, energy_share, measure_region, pointing_hit

MAP = np.array([[1, 2, 0], [3, 4, 0]], np.float32)  # sum 10
RIGHT = np.array([[0, 1, 1], [0, 1, 1]], bool)  # holds 2 + 4
TOP = np.array([[1, 1, 1], [0, 0, 0]], bool)  # holds 1 + 2


def test_energy_shares_of_a_hand_made_map():
    assert energy_share(MAP, RIGHT) == pytest.approx(6 / 10)
    assert energy_share(MAP, TOP) == pytest.approx(3 / 10)
    assert energy_share(MAP, RIGHT) + energy_share(MAP, ~RIGHT) == pytest.approx(1)
    assert energy_share(np.zeros_like(MAP), RIGHT) is None


def test_the_maximum_decides_the_pointing_game():
    assert pointing_hit(MAP, RIGHT) is True  # 4 is in the right half, not in the top row
    assert pointing_hit(MAP, TOP) is False
    assert pointing_hit(np.zeros_like(MAP), TOP) is None


def test_a_box_holds_the_pixels_whose_centres_it_holds():
    assert box_region((1, 0, 3, 2), (2, 3)).tolist() == RIGHT.tolist()
    # the centre of column 1 is at 1.5, that of row 1 at 1.5
    assert box_region((0.6, 0.0, 9.0, 1.5), (2, 3)).tolist() == [[0, 1, 1], [0, 0, 0]]


def test_a_region_s_measures_are_these_three():
    assert measure_region(MAP, TOP) == RegionMeasures(pytest.approx(0.3), False, pytest.approx(0.5))
    assert measure_region(np.zeros_like(MAP), TOP) == RegionMeasures(None, None, pytest.approx(0.5))
