import math

import pytest
import torch

from dprd_cli.model.losses import (
    MASK_IOU_LOSSES,
    box_loss,
    class_loss,
    crop_masks,
    mask_iou_loss,
    mask_iou_targets,
    mask_loss,
    mean_mask_iou_loss,
)


def test_class_loss_by_hand():
    # Uniform logits over 4 classes: ln 4 each, whatever the label
    assert class_loss(torch.zeros(3, 4), torch.tensor([0, 1, 3])).item() == pytest.approx(math.log(4))


def test_box_loss_by_hand():
    # L1 over the foreground RoI |1-0|*4 = 4, divided by both RoIs: 2
    deltas, targets = torch.ones(2, 4), torch.zeros(2, 4)
    assert box_loss(deltas, targets, torch.tensor([0, 5]), 5, 0.0).item() == 2.0


def test_background_has_no_box_loss_and_no_gradient():
    torch.manual_seed(0)
    deltas = torch.randn(6, 12, requires_grad=True)
    targets, labels = torch.randn(6, 4), torch.tensor([0, 3, 2, 3, 1, 2])
    foreground = torch.nonzero(labels < 3)[:, 0]
    plain = deltas.view(6, 3, 4)[foreground, labels[foreground]]
    for beta in (0.0, 0.5):
        expected = (
            torch.nn.functional.smooth_l1_loss(plain, targets[foreground], beta=beta, reduction="sum") / 6
        )
        loss = box_loss(deltas, targets, labels, 3, beta)
        torch.testing.assert_close(loss, expected)
        grads = (torch.autograd.grad(value, deltas, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(*grads)
    nowhere = torch.where((labels < 3)[:, None], targets, torch.nan)  # boxes of no size have no deltas
    assert torch.equal(box_loss(deltas, nowhere, labels, 3, 0.5), loss)


def test_box_loss_takes_the_deltas_of_the_true_class():
    deltas = torch.zeros(1, 12)
    deltas[0, 8:] = 1.0  # class 2 of 3
    assert box_loss(deltas, torch.zeros(1, 4), torch.tensor([2]), 3, 0.0).item() == 4.0
    assert box_loss(deltas, torch.zeros(1, 4), torch.tensor([1]), 3, 0.0).item() == 0.0


def test_mask_loss_of_zero_logits_is_ln_2():
    assert mask_loss(torch.zeros(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)).item() == pytest.approx(
        math.log(2)
    )


def test_mask_iou_loss_by_hand():
    # errors 0.5, 0.2 and 1; the last has nothing in common with its object: 0.5 * (0.25 + 0.04) / 2
    predicted, targets = torch.tensor([0.5, 0.8, 1.0], requires_grad=True), torch.tensor([1.0, 0.6, 0.0])
    assert mask_iou_loss(predicted, targets).item() == pytest.approx(0.0725)
    assert mean_mask_iou_loss(predicted, targets).item() == pytest.approx(1.29 / 3)
    nothing_met = mask_iou_loss(predicted, torch.zeros(3))
    assert nothing_met.item() == 0
    nothing_met.backward()
    assert predicted.grad.tolist() == [0, 0, 0]


def test_losses_of_nothing_are_connected_zeros():
    logits = torch.zeros((0, 5), requires_grad=True)
    deltas = torch.zeros((0, 4), requires_grad=True)
    masks = torch.zeros((0, 4, 4), requires_grad=True)
    ious = torch.zeros(0, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    total = (
        class_loss(logits, none)
        + box_loss(deltas, torch.zeros(0, 4), none, 4, 0.0)
        + mask_loss(masks, torch.zeros((0, 4, 4), dtype=torch.bool))
        + sum(loss(ious, torch.zeros(0)) for loss in MASK_IOU_LOSSES.values())
    )
    assert total.item() == 0
    total.backward()
    assert all(x.grad is not None for x in (logits, deltas, masks, ious))


def test_crop_masks_by_hand():
    mask = torch.zeros((2, 8, 8), dtype=torch.bool)
    mask[1, :, 4:] = True  # right half
    crop = crop_masks(mask, torch.tensor([1]), torch.tensor([[0.0, 0.0, 8.0, 8.0]]), 4)
    assert crop[0].tolist() == [[False, False, True, True]] * 4


def test_mask_iou_target_counts_what_lies_outside_the_roi():
    # RoI = left half (8x8) of a 16x8 object, all predicted: intersection 64 px, union 128 px -> 0.5
    logits, inside = torch.ones(1, 4, 4), torch.ones((1, 4, 4), dtype=torch.bool)
    found = mask_iou_targets(logits, inside, torch.tensor([128.0]), torch.tensor([[0.0, 0.0, 8.0, 8.0]]))
    assert found.item() == pytest.approx(0.5)
    exact = mask_iou_targets(logits, inside, torch.tensor([64.0]), torch.tensor([[0.0, 0.0, 8.0, 8.0]]))
    assert exact.item() == pytest.approx(1.0)
