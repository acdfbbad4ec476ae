import math

import pytest
import torch

from dprd_cli.ops.boxes import apply_deltas, box_area, clip_boxes, encode_deltas, paired_iou


def test_apply_deltas_inverts_encode_deltas():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(50, 2, generator=generator) * 100
    boxes = torch.cat((corner, corner + 1 + 50 * torch.rand(50, 2, generator=generator)), dim=1)
    targets = boxes.roll(1, dims=0)
    for weights in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)):
        deltas = encode_deltas(boxes, targets, weights)
        torch.testing.assert_close(apply_deltas(deltas, boxes, weights), targets, rtol=1e-4, atol=1e-3)


def test_apply_deltas_by_hand():
    # 10x20 box at centre (10, 10); half a width to the right, twice as high:
    # centre (15, 10), size (10, 40) -> x 10..20, y -10..30
    box = torch.tensor([[5.0, 0.0, 15.0, 20.0]])
    moved = apply_deltas(torch.tensor([[0.5, 0.0, 0.0, math.log(2)]]), box)
    torch.testing.assert_close(moved, torch.tensor([[10.0, -10.0, 20.0, 30.0]]))


def test_size_change_is_clamped():
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    moved = apply_deltas(torch.tensor([[0.0, 0.0, 100.0, 0.0]]), box)
    assert (moved[0, 2] - moved[0, 0]).item() == pytest.approx(1000 / 16, rel=1e-5)


def test_paired_iou_by_hand():
    # 2x2 boxes that share a 1x2 half: 2 / (4 + 4 - 2) = 1/3; disjoint: 0; empty: 0
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [3, 3, 3, 3]])
    b = torch.tensor([[1.0, 0, 3, 2], [5, 5, 6, 6], [3, 3, 3, 3]])
    torch.testing.assert_close(paired_iou(a, b), torch.tensor([1 / 3, 0.0, 0.0]))


def test_clip_keeps_boxes_inside_their_own_image():
    boxes = torch.tensor([[-5.0, -5, 50, 50], [5, 5, 50, 50]])
    clipped = clip_boxes(boxes, torch.tensor([[20.0, 30.0], [40.0, 60.0]]))  # (height, width)
    torch.testing.assert_close(clipped, torch.tensor([[0.0, 0, 30, 20], [5, 5, 50, 40]]))
    assert box_area(clipped).tolist() == [600.0, 45.0 * 35.0]
