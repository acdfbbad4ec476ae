import json
import math

import pytest
import torch

from dprd_cli.evaluation.parts import COLUMNS, PartStatistics, part_offsets
from dprd_cli.model.parts import decompose
from dprd_cli.ops.boxes import apply_deltas
from dprd_cli.structures.detections import Detections

BOXES = torch.tensor([[0.0, 0.0, 40.0, 80.0], [10.0, 20.0, 110.0, 70.0]])


def detections(offsets, labels=(0, 1), boxes=BOXES):
    """Offsets [D, P, 4], applied as Eq. 2 does."""
    parts = apply_deltas(offsets, decompose(boxes, offsets.shape[1]))
    return Detections(boxes, torch.ones(len(boxes)), torch.tensor(labels), (200, 200), part_boxes=parts)


def result(*found, names=("cat", "dog")):
    statistics = PartStatistics(names)
    for one in found:
        statistics.add(one)
    found = statistics.result()
    return found.to_json(), found.rows()


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_offsets_are_the_inverse_of_eq_2(count):
    offsets = torch.randn(2, count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.2
    boxes = BOXES.double()
    parts = apply_deltas(offsets, decompose(boxes, count))
    torch.testing.assert_close(part_offsets(parts, boxes), offsets)


def test_reference_parts_do_not_move():
    numbers, _ = result(detections(torch.zeros(2, 4, 4)))
    total = numbers["all"]
    assert numbers["parts"] == ["left", "right", "upper", "bottom"]
    assert (total["objects"], total["iou"], total["moved"], total["motion"]) == (2, 1.0, 0.0, 0.0)


def test_one_template_moves_but_does_not_adapt():
    # every part shifts right by half its width: IoU 1/3 (half the area over one and a half)
    numbers, _ = result(detections(torch.tensor([0.5, 0.0, 0.0, 0.0]).expand(2, 4, 4)))
    total = numbers["all"]
    assert total["iou"] == pytest.approx(1 / 3)
    assert total["moved"] == 1
    assert (total["abs_dx"], total["abs_dy"]) == (pytest.approx(0.5), 0)
    assert total["motion"] == pytest.approx(0.25)  # sqrt(0.5^2 / 4)
    assert total["spread_global"] == pytest.approx(0, abs=1e-6)
    assert total["spread_class"] == pytest.approx(0, abs=1e-6)


def test_a_template_per_class_is_no_adaptation_to_the_instance():
    offsets = torch.zeros(2, 4, 4)
    offsets[0, :, 3], offsets[1, :, 3] = math.log(2), -math.log(2)
    numbers, _ = result(detections(offsets), detections(offsets))
    assert numbers["all"]["spread_class"] == pytest.approx(0, abs=1e-6)
    assert numbers["all"]["spread_global"] == pytest.approx(math.log(2) / 2)
    by_name = {row["name"]: row for row in numbers["classes"]}
    assert by_name["cat"]["log_h"] == pytest.approx(math.log(2))
    assert by_name["dog"]["log_h"] == pytest.approx(-math.log(2))


def test_parts_that_follow_the_instance_are_seen():
    offsets = torch.zeros(2, 4, 4)
    offsets[0, :, 0], offsets[1, :, 0] = 0.2, -0.2  # the same class, opposite ways
    numbers, _ = result(detections(offsets, labels=(0, 0)))
    (cat,) = numbers["classes"]
    assert cat["spread_class"] == cat["motion"] == pytest.approx(0.1)  # sqrt(0.2^2 / 4)
    assert cat["per_part"][0]["dx"] == pytest.approx(0, abs=1e-6)
    assert cat["per_part"][0]["abs_dx"] == pytest.approx(0.2)


def test_rows_are_one_per_class_and_part_with_the_columns_of_the_csv():
    numbers, rows = result(detections(torch.zeros(2, 4, 4)))
    assert len(rows) == 3 * 4  # all, cat, dog
    assert all(set(row) == set(COLUMNS) for row in rows)
    assert [row["class"] for row in rows[::4]] == ["all", "cat", "dog"]
    json.dumps(numbers, allow_nan=False)


def test_nothing_to_measure():
    statistics = PartStatistics(("cat",))
    boxes = torch.zeros(1, 4)  # an empty box has no parts to speak of
    one = {"scores": torch.ones(1), "labels": torch.zeros(1, dtype=torch.int64), "image_size": (9, 9)}
    statistics.add(Detections(boxes, **one))
    statistics.add(Detections(boxes, **one, part_boxes=torch.zeros(1, 4, 4)))
    assert statistics.result().to_json() == {"parts": [], "all": None, "classes": []}
    assert statistics.result().rows() == []
