import pytest
import torch

from dprd_cli.model.build import build_detector
from dprd_cli.model.parts import FixedParts
from dprd_cli.model.rois import RoIFeatures, RoIs
from networks import SMALL, make_batch, small_config


@pytest.mark.parametrize("preset", SMALL)
def test_loss_keys_are_the_same_whatever_the_batch(preset: str):
    torch.manual_seed(0)
    detector = build_detector(small_config(preset), num_classes=6)
    keys = None
    for batch in (make_batch(), make_batch(empty=True), make_batch(masks=False)):
        losses = detector(*batch).losses
        keys = keys or set(losses)
        assert set(losses) == keys
        total = sum(losses.values())
        assert total.isfinite()
        detector.zero_grad()
        total.backward()
    num_stages = 3 if preset.startswith("cascade") else 1
    assert sum(key.startswith("loss_cls") for key in keys) == num_stages


def test_cascade_dprd_has_exactly_the_losses_of_eq_3():
    detector = build_detector(small_config("cascade-dprd-small"), num_classes=6)
    kinds = {"cls", "reg", "mask", "miou"}
    expected = {f"loss_{kind}_stage{n}" for kind in kinds for n in (1, 2, 3)}
    expected |= {f"loss_part_{kind}_stage{n}" for kind in ("cls", "mask", "miou") for n in (1, 3)}
    assert set(detector(*make_batch()).losses) == expected | {"loss_rpn_cls", "loss_rpn_reg"}


def test_one_stage_is_the_cascade_cut_short():
    torch.manual_seed(0)
    single = build_detector(
        small_config(
            "cascade-dprd-small",
            "model.cascade.ious=[0.5]",
            "model.cascade.box_weights=[[10.0, 10.0, 5.0, 5.0]]",
            "model.cascade.part_stages=[1]",
            "model.cascade.mask_stages=[1]",
        ),
        num_classes=6,
    )
    torch.manual_seed(0)
    cascade = build_detector(small_config("cascade-dprd-small"), num_classes=6)
    single.load_state_dict(cascade.state_dict(), strict=False)
    torch.manual_seed(1)
    expected = cascade(*make_batch()).losses
    torch.manual_seed(1)
    for key, value in single(*make_batch()).losses.items():
        torch.testing.assert_close(value, expected[key], msg=key)


def test_an_emptied_box_stays_where_it_was():
    heads = build_detector(
        small_config("cascade-dprd-small", "model.parts.refeed=carry"), num_classes=6
    ).roi_heads
    boxes = torch.tensor([[10.0, 10, 30, 50], [100, 100, 120, 120]])
    rois = RoIs(boxes, torch.zeros(2, dtype=torch.int64), torch.tensor([[3, 1], [4, 2]]))
    features = RoIFeatures(None, None, torch.tensor([[128.0, 128.0]]), None)
    # the first moves by half of its width, the second out of the image; weights of the first stage are 10
    moved = heads.refine(rois, torch.tensor([[5.0, 0, 0, 0], [50.0, 0, 0, 0]]), heads.cascade[0], features)
    torch.testing.assert_close(moved.boxes, torch.tensor([[20.0, 10, 40, 50], [100, 100, 120, 120]]))
    assert moved.anchor_index is rois.anchor_index  # carried


class PartsWithALoss(FixedParts):
    """Fixed parts that a loss of their own teaches, and that say so in the log."""

    def __init__(self, count):
        super().__init__(count)
        self.given = []

    def forward(self, rois, features, labels=None):
        self.given.append((rois, features.targets, labels))
        parts = super().forward(rois, features)
        if labels is None:
            return parts
        loss = (labels == 0).sum() * torch.ones((), requires_grad=True)
        return parts._replace(losses={"loss_place": loss}, diagnostics={"place_entropy": loss.detach()})


def test_parts_can_have_losses_and_diagnostics():
    torch.manual_seed(0)
    detector = build_detector(small_config("cascade-dprd-small"), num_classes=6)
    parts = PartsWithALoss(4)
    images, targets = make_batch()
    output = detector.with_parts(parts)(images, targets)
    assert {key for key in output.losses if "place" in key} == {"loss_place_stage1", "loss_place_stage3"}
    assert output.losses["loss_place_stage1"].requires_grad
    assert output.diagnostics["place_entropy"] == output.losses["loss_place_stage1"]  # of the first stage
    assert all(seen is targets for _, seen, _ in parts.given)
    boxes, masks, last = parts.given  # the first stage's two branches; the third one's share their parts
    assert (len(boxes[2]), len(last[2])) == (len(boxes[0].boxes), len(last[0].boxes))
    assert masks[2] is None  # its loss would be the box branch's again
    parts.given.clear()
    detector.eval().with_parts(parts).detect(images)
    assert [(seen, labels) for _, seen, labels in parts.given] == [
        (None, None)
    ] * 3  # two stages, final boxes


def mask_gradient(*overrides):
    """Return the gradient of the mask losses in the pyramid's first convolution."""
    torch.manual_seed(0)
    detector = build_detector(small_config("cascade-dprd-small", *overrides), num_classes=6)
    torch.manual_seed(1)
    losses = detector(*make_batch()).losses
    sum(value for key, value in losses.items() if "mask" in key).backward()
    return next(detector.neck.parameters()).grad


def test_mask_heads_share_their_weight_in_the_features():
    full = mask_gradient("model.cascade.mask_grad_scale=1.0")
    torch.testing.assert_close(mask_gradient(), full / 3, rtol=1e-3, atol=1e-7)
    assert small_config("cascade-mrcnn-small").cascade.mask_grad_scale == 1  # one mask head, as Detectron2
    assert small_config("dprd-small").cascade.mask_grad_scale == 1


@pytest.mark.parametrize("looked_up", [True, False])
def test_masks_are_trained_with_offsets_that_are_looked_up_as_at_test(looked_up):
    torch.manual_seed(0)
    setting = f"model.parts.mask_lookup={str(looked_up).lower()}"
    detector = build_detector(small_config("dprd-small", setting), num_classes=6)
    parts = PartsWithALoss(4)
    detector = detector.with_parts(parts)
    found = {}
    locate = detector.rpn.anchors.locate

    def remember(boxes, image_index, table):
        found["table"] = table
        return locate(boxes, image_index, table)

    detector.rpn.anchors.locate = remember
    detector(*make_batch())
    masks = parts.given[1:]  # after the box branch
    assert len(masks) == looked_up
    for rois, _, _ in masks:
        assert torch.equal(rois.anchor_index, locate(rois.boxes, rois.image_index, found["table"]))
