"""Anchors stand at their cells' number times the stride; a box is located at the one nearest to it."""

import pytest
import torch

from dprd_cli.model.anchors import Anchors
from dprd_cli.model.neck import FPN
from dprd_cli.ops.boxes import box_area
from dprd_cli.ops.roi_align import FeatureTable

SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)


def make_table() -> FeatureTable:
    """Return the table of a pyramid of two images of 128 x 160."""
    return FeatureTable.build([torch.zeros(2, 1, 128 // s, 160 // s) for s in FPN.strides], FPN.strides)


def test_anchors_by_hand():
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides)
    first = anchors.at(0, 2, 3).view(2, 3, 3, 4)
    # 32^2 at ratio 1 around the origin; the next cell is 4 px to the right, the next row 4 px down
    assert first[0, 0, 1].tolist() == [-16, -16, 16, 16]
    assert first[0, 1, 1].tolist() == [-12, -16, 20, 16]
    assert first[1, 0, 1].tolist() == [-16, -12, 16, 20]
    assert first[0, 0, 0, 2] - first[0, 0, 0, 0] > first[0, 0, 0, 3] - first[0, 0, 0, 1]  # ratio 0.5 is wide
    torch.testing.assert_close(box_area(first), torch.full((2, 3, 3), 1024.0))


def test_an_anchor_is_located_at_itself():
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides)
    table = make_table()
    boxes = anchors.at(1, 16, 20).view(16, 20, 3, 4)[5, 7]  # row 5, column 7 of P3
    anchor_index = anchors.locate(boxes, torch.tensor([1, 1, 1]), table)
    row = 2 * 32 * 40 + (1 * 16 + 5) * 20 + 7
    assert anchor_index.tolist() == [[row, 0], [row, 1], [row, 2]]


@pytest.mark.parametrize(("lookup_cell", "reached"), [("nearest", 1.0), ("floor", 0.25)])
def test_a_box_is_located_where_the_best_anchor_stands(lookup_cell, reached):
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides, lookup_cell=lookup_cell)
    table = make_table()
    place = anchors.at(1, 16, 20).view(16, 20, 3, 4)[5, 7]
    # a third of a stride away from row 5, column 7 of P3, in the four diagonal directions
    shifts = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]) * FPN.strides[1] / 3
    rows = anchors.locate(place[1] + shifts.repeat(1, 2), torch.zeros(4, dtype=torch.int64), table)[:, 0]
    row = 2 * 32 * 40 + 5 * 20 + 7
    assert (rows == row).float().mean() == reached


def test_boxes_at_the_border_and_beyond_are_located_inside():
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides)
    table = make_table()
    boxes = torch.tensor([[0.0, 0, 1e-4, 1e-4], [159, 127, 160, 128], [0, 0, 5000, 5000]])
    anchor_index = anchors.locate(boxes, torch.zeros(3, dtype=torch.int64), table)
    assert (anchor_index[:, 0] >= 0).all()
    assert (anchor_index[:, 0] < len(table.rows)).all()
    assert anchor_index[1, 0].item() == 32 * 40 - 1  # the last cell of image 0 on P2
