import pytest
import torch
import torch.nn.functional as F

from dprd_cli.model.build import build_detector
from dprd_cli.model.fusion import FusionOutput
from dprd_cli.model.stage import MaskTargets, comb_parts_win
from networks import small_config

LABELS = torch.tensor([0, 1, 6])  # two objects and the background


def stage_of(preset, *overrides, number=1):
    torch.manual_seed(0)
    return build_detector(small_config(preset, *overrides), num_classes=6).roi_heads.cascade[number - 1]


def features(size):
    """Return whole and part features of 3 RoIs, as wide as the small presets' pyramid."""
    return torch.rand(3, 64, size, size), torch.rand(3, 4, 64, size, size)


def mask_targets():
    boxes = torch.tensor([[0.0, 0, 20, 20]] * 3)
    return MaskTargets(torch.tensor([0, 1, 2]), torch.ones(3, 20, 20).bool(), torch.full((3,), 400.0), boxes)


def test_part_losses_are_the_same_heads_on_the_parts_alone():
    stage = stage_of("cascade-dprd-small")
    losses = stage.mask_losses(*features(10), mask_targets())
    assert set(losses) == {"loss_mask", "loss_miou", "loss_part_mask", "loss_part_miou"}
    fused, _ = stage.predict_boxes(*features(7))
    (loss,) = stage.part_class_loss(fused, LABELS).values()
    torch.testing.assert_close(loss, F.cross_entropy(stage.box_head(fused.parts).logits, LABELS))


def test_stages_without_parts_or_part_losses_have_none():
    middle = stage_of("cascade-dprd-small", number=2)
    fused, _ = middle.predict_boxes(features(7)[0], None)
    assert fused.parts is None
    assert middle.part_class_loss(fused, LABELS) == {}
    off = stage_of("cascade-dprd-small", "model.parts.losses=false")
    fused, _ = off.predict_boxes(*features(7))
    assert off.part_class_loss(fused, LABELS) == {}
    assert set(off.mask_losses(*features(10), mask_targets())) == {"loss_mask", "loss_miou"}


def test_masks_and_their_quality_are_shares():
    stage = stage_of("cascade-dprd-small")
    masks, ious = stage.predict_masks(*features(10), torch.tensor([0, 1, 2]))
    assert masks.shape == (3, 20, 20)
    assert ious.shape == (3,)
    assert ((masks >= 0) & (masks <= 1)).all()
    assert ((ious >= 0) & (ious <= 1)).all()
    plain = stage_of("mask-rcnn-small")
    assert plain.predict_masks(features(10)[0], None, torch.tensor([0, 1, 2]))[1] is None


def test_who_wins_the_last_max():
    parts, whole = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 3.0], [0.0, 1.0]])
    # equal: the parts win; less: they do not; both zero: nobody does; less again
    assert comb_parts_win(FusionOutput(parts, whole, parts)).item() == 1 / 4
    assert comb_parts_win(FusionOutput(parts, whole, parts), limit=1).item() == 1 / 2
    assert comb_parts_win(FusionOutput(parts, whole, parts - 1)).item() == 0  # what met the whole counts
    assert comb_parts_win(FusionOutput(None, whole)) is None
    assert comb_parts_win(FusionOutput(parts, whole)) is None  # an average has no winner
    assert comb_parts_win(FusionOutput(parts[:0], whole[:0], parts[:0])) is None


@pytest.mark.parametrize("loss", ["half", "mean"])
def test_masks_of_both_features_at_once_are_those_of_one_after_the_other(monkeypatch, loss):
    stage = stage_of("cascade-dprd-small", f'model.heads.mask_iou_loss="{loss}"')
    given, trained = features(10), [*stage.parameters()]

    def run():
        losses = stage.mask_losses(*given, mask_targets())
        return losses, torch.autograd.grad(sum(losses.values()), trained, allow_unused=True)

    plain = run()
    monkeypatch.setattr(stage, "takes_at_once", lambda feature: True)
    torch.testing.assert_close(run(), plain)


def test_on_a_cpu_and_with_batch_statistics_features_go_one_after_the_other():
    here, there = torch.rand(3, 64, 10, 10), torch.rand(3, 64, 10, 10, device="meta")
    stage = stage_of("cascade-dprd-small")
    assert not stage.takes_at_once(here)
    assert stage.takes_at_once(there)
    assert not stage_of("cascade-dprd-small", 'model.heads.norm="bn"').takes_at_once(there)
