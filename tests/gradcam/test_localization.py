import numpy as np
import pytest

from dprd_cli.gradcam.localization import Localization, box_region, energy_share, pointing_hit

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


def test_means_and_the_lead():
    found = Localization(("a", "b"))
    for number, (ours, theirs) in enumerate([(MAP, MAP), (MAP, np.zeros_like(MAP)), (MAP, MAP[:, ::-1])]):
        known = {"image": "x", "object": number, "class": "cat"}
        more = {"score": 1.0, "layer": "p2"}
        box = np.array([1, 0, 3, 2], np.float32)
        found.add(known, [(ours, more), (theirs, more)], box, TOP if number else None)
    result = found.result()
    first, second = result["models"]
    assert result["objects"] == 3
    assert first["share_box"] == pytest.approx(0.6)
    assert first["area_box"] == pytest.approx(4 / 6)  # what a uniform map scores
    # of the second: 6/10, no map, and the mirrored [[0, 2, 1], [0, 4, 3]], all of it in the right two columns
    assert second["share_box"] == pytest.approx((0.6 + 1.0) / 2)
    assert second["zero_maps"] == 1
    # leads: 0 and 0.6 - 1.0; their standard deviation is 0.4 / sqrt 2, so 1.96 * 0.4 / sqrt 2 / sqrt 2
    assert result["lead"]["share_box"]["mean"] == pytest.approx(-0.2)
    assert result["lead"]["share_box"]["interval"] == pytest.approx(1.96 * 0.2)
    assert result["lead"]["share_mask"]["objects"] == 1  # the first object has no mask
    assert len(found.plot().axes) == 1


def test_nothing_to_average():
    result = Localization(("a", "b")).result()
    assert result["objects"] == 0
    assert result["models"][0]["share_mask"] is None
