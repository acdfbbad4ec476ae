import importlib.util

import pytest
import torch

from dprd_cli.structures.detections import Target
from paths import ROOT

SCRIPT = ROOT / "scripts" / "oracle_parts.py"


@pytest.fixture
def oracle():
    spec = importlib.util.spec_from_file_location("oracle_parts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    masks = torch.zeros(1, 100, 100, dtype=torch.bool)
    masks[0, 20:80, 22:40] = True  # a trunk on the left
    masks[0, 20:36, 40:78] = True  # an arm at the top
    boxes = torch.tensor([[22.0, 20.0, 78.0, 80.0]])
    module._objects[:] = [Target(boxes, torch.tensor([0]), (100, 100), masks)]
    return module


def parts_of(oracle, box, sigma, image=0):
    boxes = torch.tensor([box])
    image_sizes = torch.tensor([[100.0, 100.0]])
    parts = oracle.oracle_parts(boxes, torch.tensor([image]), image_sizes, 4, sigma)
    return parts.boxes[0].tolist(), parts.iou[0], parts.fallback[0].tolist()


def test_parts_are_tight_around_the_object_within_each_half(oracle):
    boxes, iou, fallback = parts_of(oracle, [20.0, 20.0, 80.0, 80.0], sigma=0.0)
    left, right, upper, lower = boxes
    assert left == [22, 20, 50, 80]
    assert right == [50, 20, 78, 36]
    assert upper == [22, 20, 78, 50]
    assert lower == [22, 50, 40, 80]
    assert fallback == [False] * 4
    torch.testing.assert_close(iou, torch.tensor([28 / 30, 28 * 16 / 1800, 56 / 60, 18 / 60]))


def test_sigma_puts_back_what_moved_too_far(oracle):
    boxes, iou, fallback = parts_of(oracle, [20.0, 20.0, 80.0, 80.0], sigma=0.5)
    assert fallback == [False, True, False, True]
    assert boxes[1] == [50, 20, 80, 80]
    assert boxes[3] == [20, 50, 80, 80]
    assert iou[1] == iou[3] == 1


@pytest.mark.parametrize(("box", "image"), [([0.0, 60.0, 40.0, 100.0], 0), ([20.0, 20.0, 80.0, 80.0], 1)])
def test_parts_stay_away_from_objects_and_in_other_images(oracle, box, image):
    boxes, iou, _ = parts_of(oracle, box, sigma=0.0, image=image)
    x0, y0, x1, y1 = box
    assert boxes[0] == [x0, y0, (x0 + x1) / 2, y1]
    assert iou.min() == 1
