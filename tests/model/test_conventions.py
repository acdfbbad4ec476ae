import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.model.conventions import CONVENTIONS


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_choice_reaches_the_network(name):
    config = resolve(preset="mask-rcnn-small", overrides=[f"model.conventions={name}"]).model
    detector = build_detector(config, num_classes=3)
    found, heads = CONVENTIONS[name], detector.roi_heads
    corners = detector.rpn.anchors.base
    assert bool((corners == corners.round()).all()) is found.rounded_anchors
    assert detector.rpn.anchors.fitted is found.fitted_strides
    assert (heads.pooler.aligned, heads.sampler.aligned) == (found.aligned, found.aligned)
    assert heads.pooler.level_eps == found.level_eps
    assert detector.rpn.min_size == found.min_proposal
    assert heads.selector.min_size == found.min_detection
    assert detector.rpn.loss_by_sampled is found.rpn_loss_by_sampled
    assert heads.sampler.soft_masks is found.soft_mask_targets


def test_the_two_frameworks_differ_in_every_choice():
    ours, theirs = CONVENTIONS["detectron2"], CONVENTIONS["torchvision"]
    assert all(a != b for a, b in zip(ours, theirs, strict=True))
