import pytest
import torch

from dprd_cli.model.neck import FPN
from dprd_cli.model.rpn import RPN, Anchors
from dprd_cli.ops.boxes import box_area
from dprd_cli.ops.roi_align import FeatureTable
from dprd_cli.structures.detections import Target

SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)


def make_rpn(channels: int = 8) -> RPN:
    torch.manual_seed(0)
    return RPN(
        channels,
        Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides),
        fg_iou=0.7,
        bg_iou=0.3,
        anchors_per_image=256,
        positive_fraction=0.5,
        pre_nms=(200, 100),
        post_nms=(60, 40),
        nms_iou=0.7,
        smooth_l1_beta=0.0,
    )


def make_features(channels: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, 128 // s, 160 // s, generator=generator) for s in (4, 8, 16, 32, 64)]


def test_anchors_by_hand():
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides)
    first = anchors.at(0, 2, 3).view(2, 3, 3, 4)
    # 32^2 at ratio 1 around the origin; the next cell is 4 px to the right, the next row 4 px down
    assert first[0, 0, 1].tolist() == [-16, -16, 16, 16]
    assert first[0, 1, 1].tolist() == [-12, -16, 20, 16]
    assert first[1, 0, 1].tolist() == [-16, -12, 16, 20]
    assert first[0, 0, 0, 2] - first[0, 0, 0, 0] > first[0, 0, 0, 3] - first[0, 0, 0, 1]  # ratio 0.5 is wide
    torch.testing.assert_close(box_area(first), torch.full((2, 3, 3), 1024.0))


def test_proposals_are_sorted_inside_and_within_limits():
    rpn = make_rpn()
    sizes = [(128, 160), (100, 120)]
    out = rpn(make_features(), sizes, None)
    assert out.losses == {}
    for proposals, (height, width) in zip(out.proposals, sizes, strict=True):
        assert 0 < len(proposals.boxes) <= 40
        assert (proposals.logits.diff() <= 0).all()
        assert proposals.boxes.min() >= 0
        assert proposals.boxes[:, 2].max() <= width
        assert proposals.boxes[:, 3].max() <= height


def test_source_of_a_proposal_is_the_cell_and_anchor_it_came_from():
    rpn = make_rpn()
    torch.nn.init.zeros_(rpn.deltas.weight)  # proposals are the anchors themselves
    features = make_features()
    out = rpn(features, [(128, 160), (128, 160)], None)
    anchors = torch.cat(
        [rpn.anchors.at(i, *f.shape[-2:]).view(-1, 3, 4).repeat(2, 1, 1) for i, f in enumerate(features)]
    )  # in the table's order: level, image, cell
    for image, proposals in enumerate(out.proposals):
        found = anchors[proposals.anchor_index[:, 0], proposals.anchor_index[:, 1]].clamp(min=0)
        found[:, 2::2].clamp_(max=160)
        found[:, 3::2].clamp_(max=128)
        torch.testing.assert_close(found, proposals.boxes)
        level0 = proposals.anchor_index[:, 0] < 2 * 32 * 40
        assert ((proposals.anchor_index[level0, 0] >= 32 * 40) == bool(image)).all()


def test_an_anchor_is_located_at_itself():
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides)
    table = FeatureTable.build(make_features(), FPN.strides)
    boxes = anchors.at(1, 16, 20).view(16, 20, 3, 4)[5, 7]  # row 5, column 7 of P3
    anchor_index = anchors.locate(boxes, torch.tensor([1, 1, 1]), table)
    row = 2 * 32 * 40 + (1 * 16 + 5) * 20 + 7
    assert anchor_index.tolist() == [[row, 0], [row, 1], [row, 2]]


@pytest.mark.parametrize(("lookup_cell", "reached"), [("nearest", 1.0), ("floor", 0.25)])
def test_a_box_is_located_where_the_best_anchor_stands(lookup_cell, reached):
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides, lookup_cell=lookup_cell)
    table = FeatureTable.build(make_features(), FPN.strides)
    place = anchors.at(1, 16, 20).view(16, 20, 3, 4)[5, 7]
    # a third of a stride away from row 5, column 7 of P3, in the four diagonal directions
    shifts = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]) * FPN.strides[1] / 3
    rows = anchors.locate(place[1] + shifts.repeat(1, 2), torch.zeros(4, dtype=torch.int64), table)[:, 0]
    row = 2 * 32 * 40 + 5 * 20 + 7
    assert (rows == row).float().mean() == reached


def test_boxes_at_the_border_and_beyond_are_located_inside():
    anchors = Anchors(SIZES, (0.5, 1.0, 2.0), FPN.strides)
    table = FeatureTable.build(make_features(), FPN.strides)
    boxes = torch.tensor([[0.0, 0, 1e-4, 1e-4], [159, 127, 160, 128], [0, 0, 5000, 5000]])
    anchor_index = anchors.locate(boxes, torch.zeros(3, dtype=torch.int64), table)
    assert (anchor_index[:, 0] >= 0).all()
    assert (anchor_index[:, 0] < len(table.rows)).all()
    assert anchor_index[1, 0].item() == 32 * 40 - 1  # the last cell of image 0 on P2


def test_losses_and_their_zeros():
    rpn = make_rpn()
    size = (128, 160)
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), size)
    full = Target(torch.tensor([[10.0, 10, 60, 80]]), torch.tensor([2]), size)
    for targets in ([full, empty], [empty, empty]):
        losses = rpn(make_features(), [size, size], targets).losses
        assert set(losses) == {"loss_rpn_cls", "loss_rpn_reg"}
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in rpn.parameters())
    assert losses["loss_rpn_reg"].item() == 0


def test_parts_read_the_hidden_features_or_the_pyramid_cell_by_cell():
    features = make_features()
    sizes = [(128, 160), (128, 160)]
    rpn = make_rpn()
    hidden = rpn.predict(features)[0]
    first = rpn(features, sizes, None)
    rpn.part_source = "pyramid"
    second = rpn(features, sizes, None)
    torch.testing.assert_close(first.hidden.rows, FeatureTable.build(hidden, FPN.strides).rows)
    torch.testing.assert_close(second.hidden.rows, FeatureTable.build(features, FPN.strides).rows)
    for one, other in zip(first.proposals, second.proposals, strict=True):
        assert torch.equal(one.anchor_index, other.anchor_index)  # of the same cells
