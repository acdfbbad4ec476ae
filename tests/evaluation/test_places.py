"""At which places parts are, by hand, and from a detector that chooses them."""

import json
import math

import pytest
import torch

from dprd_cli.evaluation.parts import PartStatistics
from dprd_cli.evaluation.places import PlaceStatistics
from dprd_cli.model.parts import decompose
from dprd_cli.structures.detections import Detections

SHIFTS = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, -0.5, 1.0]])
HERE, RIGHT, UP = [0.6, 0.2, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
HALF = [0.45, 0.55, 0.0]  # not likely enough to leave the reference part


def detections(probs, steadiness, labels):
    count = len(labels)
    boxes = torch.tensor([[10.0, 10, 50, 90]]).repeat(count, 1)
    return Detections(
        boxes,
        torch.ones(count),
        torch.tensor(labels, dtype=torch.int64),
        (99, 99),
        part_boxes=decompose(boxes, 2),
        part_places=torch.tensor(probs).view(count, 2, 3),
        part_steadiness=torch.tensor(steadiness).view(count, 2),
    )


def test_by_hand():
    statistics = PlaceStatistics(("cat", "dog"), SHIFTS)
    unknown = [[math.nan] * 3] * 2
    probs = [[RIGHT, RIGHT], [RIGHT, UP], [HERE, HALF], unknown]
    steadiness = [[1.0, 1.0], [0.5, 0.0], [1.0, 0.5], [math.nan, math.nan]]
    statistics.add(detections(probs[:1], steadiness[:1], [1]))
    statistics.add(detections(probs[1:], steadiness[1:], [0, 0, 0]))
    result = statistics.result(("left", "right"))
    left, right = result.total.per_part
    assert left.shares == pytest.approx((1 / 3, 2 / 3, 0))
    assert right.shares == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    of_here = -(0.6 * math.log(0.6) + 0.4 * math.log(0.2))
    assert left.entropy == pytest.approx(of_here / 3)
    assert (left.steadiness, right.steadiness) == (pytest.approx(2.5 / 3), pytest.approx(0.5))
    # all parts of the first and of the third object are at one place, the third's at their reference parts
    assert (result.total.objects, result.total.together, result.total.still) == (
        3,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    )
    assert [(group.name, group.objects, group.together) for group in result.classes] == [
        ("cat", 2, 0.5),
        ("dog", 1, 1.0),
    ]
    found = result.to_json()
    assert found["most_entropy"] == pytest.approx(math.log(3))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["shifts"][1] == [0.5, 0.0, 1.0]


def test_nothing_is_told_of_parts_that_choose_no_place():
    assert PlaceStatistics(("cat",), SHIFTS).result(("left", "right")) is None
    statistics = PlaceStatistics(("cat",), None)
    statistics.add(detections([[HERE, HERE]], [[1.0, 1.0]], [0]))
    assert statistics.result(("left", "right")) is None


def test_they_are_part_of_the_statistics_of_parts():
    statistics = PartStatistics(("cat",), SHIFTS)
    statistics.add(detections([[RIGHT, UP]], [[1.0, 1.0]], [0]))
    assert statistics.result().to_json()["places"]["all"]["per_part"][0]["shares"] == [0, 1, 0]
    without = PartStatistics(("cat",))
    without.add(detections([[RIGHT, UP]], [[1.0, 1.0]], [0]))
    assert "places" not in without.result().to_json()
