import pytest
import torch
import torch.nn.functional as F

import dprd_cli.model.rpn as rpn_module
from dprd_cli.model.anchors import Anchors
from dprd_cli.model.matching import label_anchors
from dprd_cli.model.neck import FPN
from dprd_cli.model.rpn import RPN
from dprd_cli.ops.boxes import encode_deltas
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


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_proposals_of_a_batch_are_those_of_each_image_alone(monkeypatch, at_once):
    monkeypatch.setattr(rpn_module, "_AT_ONCE", at_once)
    rpn = make_rpn()
    rpn.min_size = 20.0
    features, sizes = make_features(), [(128, 160), (100, 120)]
    together = rpn(features, sizes, None).proposals
    for number, size in enumerate(sizes):
        alone = rpn([feature[number : number + 1] for feature in features], [size], None).proposals[0]
        torch.testing.assert_close(together[number].boxes, alone.boxes)
        torch.testing.assert_close(together[number].logits, alone.logits)
        assert (alone.boxes[:, 2:] - alone.boxes[:, :2] >= 20).all()


def test_what_is_not_finite_is_not_proposed():
    rpn = make_rpn()
    logits, deltas = rpn.predict(make_features())[1:]
    anchors = rpn.anchors.on(make_features())
    table = FeatureTable.build(make_features(), FPN.strides)
    for delta in deltas:
        delta.data[1, ::2] = torch.nan
    first, second = rpn.propose(logits, deltas, anchors, table, [(128, 160)] * 2, training=True)
    assert first.boxes.isfinite().all()
    assert second.boxes.isfinite().all()
    assert 0 < len(second.boxes) <= len(first.boxes)
    for delta in deltas:
        delta.data.fill_(torch.nan)
    assert [
        len(p.boxes) for p in rpn.propose(logits, deltas, anchors, table, [(128, 160)] * 2, training=True)
    ] == [0, 0]


@pytest.mark.parametrize("by_sampled", [False, True])
def test_losses_are_those_of_the_anchors_that_are_drawn(by_sampled):
    """All that may be drawn is: 4 of 4 positives and every negative, image after image."""
    rpn = make_rpn()
    rpn.anchors_per_image, rpn.positive_fraction, rpn.loss_by_sampled = 10**5, 0.5, by_sampled
    rpn.smooth_l1_beta = 0.1
    features, size = make_features(), (128, 160)
    boxes = [
        torch.tensor([[10.0, 10, 60, 80], [90, 20, 150, 110]]),
        torch.zeros(0, 4),
        torch.tensor([[3.0, 3, 40, 40]]),
    ]
    features = [torch.cat((feature, feature[:1] * 2)) for feature in features]
    targets = [Target(box, torch.zeros(len(box), dtype=torch.int64), size) for box in boxes]
    _, logits, deltas = rpn.predict(features)
    anchors = rpn.anchors.on(features)
    losses = rpn.losses(logits, deltas, anchors, targets)
    every, wanted_cls, wanted_reg, drawn = torch.cat(anchors), 0.0, 0.0, 0
    for logit, delta, box in zip(torch.cat(logits, 1), torch.cat(deltas, 1), boxes, strict=True):
        labels, index = label_anchors(every, box, 0.7, 0.3)
        seen, positive = labels >= 0, labels == 1
        drawn += int(seen.sum())
        wanted_cls += F.binary_cross_entropy_with_logits(logit[seen], positive[seen].float(), reduction="sum")
        if positive.any():
            target = encode_deltas(every[positive], box[index[positive]], (1.0, 1.0, 1.0, 1.0))
            wanted_reg += F.smooth_l1_loss(delta[positive], target, beta=0.1, reduction="sum")
    number = drawn if by_sampled else 3 * 10**5
    torch.testing.assert_close(losses["loss_rpn_cls"], wanted_cls / number)
    torch.testing.assert_close(losses["loss_rpn_reg"], wanted_reg / number)
    assert wanted_reg > 0


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
