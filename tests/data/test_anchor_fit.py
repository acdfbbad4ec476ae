"""Objects that the anchors cannot reach, and the setting that reaches them."""

import numpy as np
import pytest

from dprd_cli.config.model_schema import RPNConfig
from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.anchor_fit import best_ious, check_anchors
from dprd_cli.data.formats.problems import Problems

PLAIN = DataConfig(test_min_size=100, max_size=100)


def tree(*sides):
    """Return an image of 100 x 100 with a box of each (width, height), and entries that are not sound."""
    anns = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, *one], "iscrowd": 0} for one in sides]
    odd = [{"image_id": 2, "bbox": [1, 2]}, {"image_id": 1, "bbox": "x"}, {"image_id": 1}]
    return {"images": [{"id": 1, "width": 100, "height": 100}, {"id": 2}], "annotations": anns + odd}


def told(*sides, config=PLAIN, **rpn):
    problems = Problems()
    check_anchors(tree(*sides), config, RPNConfig(**rpn), problems)
    return [f"{one.line()}; {one.advice}" for one in problems.of("warning")]


def test_ious_by_hand():
    # 32 x 32 is an anchor; 16 x 64 is 1:4 of that area, with 1:2 (22.6 x 45.3) it shares 16 * 45.3 = 724
    sides, sizes, ratios = np.array([[32, 32], [16, 64]]), np.array([32.0]), np.array([0.5, 1, 2])
    expected = [1, 16 * 45.25 / (2 * 1024 - 16 * 45.25)]
    np.testing.assert_allclose(best_ious(sides, sizes, ratios), expected, atol=1e-3)


def test_objects_that_are_reached_are_not_spoken_of():
    assert told(*[(32, 32), (30, 50), (64, 64)] * 5) == []
    assert told(*[(32, 32)] * 100, *[(4, 4)] * 9) == []  # a few are usual
    assert told() == []


@pytest.mark.parametrize(
    ("side", "kind", "setting"),
    [
        ((8, 8), "too small", "model.rpn.anchor_sizes=[8,16,32,64,128]"),
        ((16, 80), "too tall", "model.rpn.aspect_ratios=[0.25,0.5,1,2,4]"),
        ((80, 16), "too wide", "model.rpn.aspect_ratios=[0.25,0.5,1,2,4]"),
    ],
)
def test_the_advice_is_a_setting_that_reaches_more(side, kind, setting):
    (line,) = told(*[side] * 10)
    assert line.startswith(f"10 of 10 objects overlap with no anchor by half (10 {kind}")
    assert f"--set {setting}" in line
    config = resolve(overrides=[setting])  # it is one that training takes
    sides = np.array([side], dtype=float)
    before = best_ious(sides, np.array(RPNConfig().anchor_sizes), np.array(RPNConfig().aspect_ratios))
    after = best_ious(
        sides, np.array(config.model.rpn.anchor_sizes), np.array(config.model.rpn.aspect_ratios)
    )
    assert after > before


def test_objects_are_seen_at_the_size_of_the_test():
    assert told(*[(8, 8)] * 10, config=DataConfig(test_min_size=400, max_size=400)) == []
