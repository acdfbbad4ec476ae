"""Which part decided, where that is known beforehand."""

import pytest
import torch
from torch import nn

from dprd_cli.inference.predictor import Predictor
from dprd_cli.model.evidence import part_evidence
from dprd_cli.model.fusion import ConcatFusion, RDAFusion, WholeTransform
from tiny_model import IMAGE, tiny_model

SHAPE = (2, 8, 3, 3)


@pytest.mark.parametrize(
    "fusion",
    [RDAFusion(8, 4), RDAFusion(8, 4, residual=True), ConcatFusion(8, 4), ConcatFusion(8, 4, rectified=True)],
)
def test_a_contest_fuses_as_forward_does_and_its_shares_add_up(fusion):
    torch.manual_seed(0)
    whole, parts = torch.randn(SHAPE), torch.randn(2, 4, *SHAPE[1:])
    outcome = fusion.contest(whole, parts)
    torch.testing.assert_close(outcome.feature[0], fusion(whole, parts).whole)
    torch.testing.assert_close(outcome.feature[5], fusion(whole, parts).parts)
    torch.testing.assert_close(outcome.shares.sum(dim=2), torch.ones(6, 2))
    for part in range(5):
        assert (outcome.shares[part + 1, :, part] == 0).all()


def plain(fusion):
    """A residual assembly whose transforms add nothing: maxima of the features themselves."""
    for parameter in fusion.parameters():
        nn.init.zeros_(parameter)
    return fusion


@pytest.mark.parametrize("telling", range(5))
def test_the_part_that_holds_the_evidence_wins_all_maxima(telling):
    fusion = plain(RDAFusion(8, 4, residual=True))
    regions = torch.full((1, 5, 8, 3, 3), 0.1)
    regions[:, telling] = 1.0
    outcome = fusion.contest(regions[:, 4], regions[:, :4])
    assert outcome.shares[0, 0, telling] == 1
    assert (outcome.feature[0] == 1).all()
    assert outcome.feature[telling + 1].max().item() == pytest.approx(0.1)


def test_shares_by_hand():
    # 8 elements. Left wins 6 of 8 against right, l/r 4 of 8 against b/u, the parts 2 of 8 against the whole.
    # Upper and bottom: 8 of 8. left = 6/8 * 4/8 * 2/8 = 3/32, right 1/32, upper 4/8 * 2/8 = 1/8, whole 6/8.
    fusion = plain(RDAFusion(8, 4, residual=True))

    def feature(*values):
        return torch.tensor(values, dtype=torch.float32)[None, :, None, None]

    left = feature(5, 5, 5, 5, 2, 2, 1, 1)
    right = feature(1, 1, 1, 1, 1, 1, 2, 2)
    upper, bottom = torch.full_like(left, 3), torch.ones_like(left)
    whole = feature(4, 4, 9, 9, 9, 9, 9, 9)
    outcome = fusion.contest(whole, torch.stack([left, right, upper, bottom], dim=1))
    torch.testing.assert_close(outcome.shares[0], torch.tensor([[3 / 32, 1 / 32, 4 / 32, 0, 24 / 32]]))


@pytest.mark.parametrize("preset", ["cascade-dprd-small", "dprd-small"])
def test_the_score_with_all_parts_is_the_detections(preset):
    model = tiny_model(preset)
    predictor = Predictor(model)
    prepared = predictor.prepare(IMAGE).tensor
    images = [prepared, prepared[:, :, :40]]
    plain_found = model.detector.eval().detect(images, masks=False)
    found = model.detector.detect(images, masks=False, evidence_from=0.0)
    for one, before, trace in zip(found.detections, plain_found.detections, found.traces, strict=True):
        assert len(one)
        assert one.part_shares.shape == one.part_falls.shape == (len(one), 5)
        assert (one.part_shares.sum(dim=1) <= 1 + 1e-5).all()
        without = one.scores[:, None] - one.part_falls  # probabilities, since the law holds
        assert without.min() > -1e-5
        assert without.max() < 1 + 1e-5
        assert torch.equal(one.boxes, before.boxes)
        assert torch.equal(one.scores, before.scores)
        assert before.part_shares is None
        assert len(trace) == len(one)


def test_only_what_reaches_the_score_is_told():
    model = tiny_model("dprd-small")
    images = [Predictor(model).prepare(IMAGE).tensor] * 2
    everything = model.detector.eval().detect(images, masks=False, evidence_from=0.0).detections
    least = everything[0].scores[1].item()
    some = model.detector.detect(images, masks=False, evidence_from=least).detections
    for one, whole in zip(some, everything, strict=True):
        asked = one.scores >= least
        assert 1 <= asked.sum() < len(one)
        torch.testing.assert_close(one.part_falls[asked], whole.part_falls[asked])
        assert one.part_falls[~asked].isnan().all()
        assert one.part_shares[~asked].isnan().all()
    none = model.detector.detect(images, masks=False, evidence_from=2.0).detections
    assert none[0].part_shares.isnan().all()


class OnePart(nn.Module):
    """A pooler whose features are zero but those of one part."""

    def __init__(self, telling, channels):
        super().__init__()
        self.telling, self.channels = telling, channels

    def forward(self, rois, part_boxes, features, size):
        parts = torch.zeros(len(rois.boxes), 4, self.channels, size, size)
        parts[:, self.telling] = 1.0
        return torch.zeros_like(parts[:, 0]), parts


@pytest.mark.parametrize("telling", [1, 3])
def test_only_the_part_that_holds_the_evidence_moves_the_score(telling):
    model = tiny_model("dprd-small", with_masks=False)
    detector, channels = model.detector.eval(), model.config.model.neck.channels
    (stage,) = detector.roi_heads.cascade
    stage.fusion = plain(RDAFusion(channels, 4, residual=True))
    stage.box_pooler = OnePart(telling, channels)
    nn.init.normal_(stage.box_head.classes.weight)
    image = Predictor(model).prepare(IMAGE).tensor
    (found,) = detector.detect([image], masks=False, evidence_from=0.0).detections
    others = [k for k in range(5) if k != telling]
    assert len(found)
    assert (found.part_shares[:, telling] == 1).all()
    assert (found.part_falls[:, others].abs() < 1e-6).all()
    assert (found.part_falls[:, telling].abs() > 1e-3).all()


def test_models_whose_parts_never_meet_tell_nothing():
    model = tiny_model("mask-rcnn-small")
    assert not model.detector.parts_meet
    found = model.detector.eval().detect([Predictor(model).prepare(IMAGE).tensor], evidence_from=0.0)
    assert found.detections[0].part_shares is None
    assert part_evidence(model.detector.roi_heads, None, found.traces, [found.detections[0].labels]) is None
    assert not isinstance(WholeTransform(8), RDAFusion | ConcatFusion)
