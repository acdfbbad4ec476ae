"""Networks for inference, and bfloat16 against float32: detections, gradients, and what stays wide."""

import pytest
import torch
from torch import nn

from dprd_cli.model.build import build_detector
from dprd_cli.model.folded_norms import FoldedConv2d
from dprd_cli.model.inference import for_inference
from dprd_cli.model.layers import FullLinear
from dprd_cli.ops.roi_align import FeatureTable
from dprd_cli.runtime.precision import autocast
from networks import make_batch, move_parts, small_config

CPU = torch.device("cpu")
PARTS = ("dprd-small", "model.backbone.norm=frozen_bn")
CASCADE = ("cascade-dprd-small", "model.backbone.norm=frozen_bn")
PLACED = ("dprd-small", "model.backbone.norm=frozen_bn", "model.parts.mode=placed")


def build(preset, *overrides):
    torch.manual_seed(0)
    made = build_detector(small_config(preset, *overrides), num_classes=6, with_masks=True)
    move_parts(made)
    for name, buffer in made.named_buffers():  # BatchNorm that does something
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return made.eval()


def detect(detector, images):
    with torch.no_grad(), autocast(CPU, detector.precision):
        return detector.detect(images).detections


RESNETS = ("dprd-small", "model.backbone.norm=frozen_bn", "model.backbone.name=r50")
MOBILENET = ("dprd-small", "model.backbone.norm=frozen_bn", "model.backbone.name=mobilenet_v2")


@pytest.mark.parametrize("choice", [PARTS, CASCADE, PLACED, RESNETS, MOBILENET, ("mask-rcnn-small",)])
def test_in_float32_the_numbers_are_the_same(choice):
    detector, (images, _) = build(*choice), make_batch()
    ready = for_inference(detector, "fp32")
    assert (detector.precision, ready.precision) == ("fp32", "fp32")
    assert not any(isinstance(module, FoldedConv2d) for module in ready.modules())
    for one, other in zip(detect(detector, images), detect(ready, images), strict=True):
        assert len(one.scores)
        assert torch.equal(one.labels, other.labels)
        for name in ("boxes", "scores", "masks"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-4)


def test_the_trained_network_stays_as_it_is_and_shares_what_is_not_changed():
    detector = build(*PARTS)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    ready = for_inference(detector, "bf16")
    assert ready.precision == "bf16"
    assert detector.precision == "fp32"
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert ready.part_layer.weight is detector.part_layer.weight
    assert ready.rpn.anchors.base is detector.rpn.anchors.base


@pytest.mark.parametrize("choice", [PARTS, CASCADE, PLACED])
def test_coordinates_and_scores_stay_in_float32(choice):
    ready = for_inference(build(*choice), "bf16")
    wide = {name for name, value in ready.named_parameters() if value.dtype == torch.float32}
    layers = [name for name, module in ready.named_modules() if isinstance(module, FullLinear)]
    assert {f"{name}.weight" for name in layers} <= wide
    assert {name for name, _ in ready.named_parameters() if name.startswith("roi_heads.parts.layer")} <= wide
    assert {one.dtype for _, one in ready.named_buffers() if one.is_floating_point()} == {torch.float32}
    narrow = [module for module in ready.backbone.modules() if isinstance(module, nn.Conv2d)]
    assert narrow
    assert all(module.weight.dtype == torch.bfloat16 for module in narrow)
    found = detect(ready, make_batch()[0])[0]
    kept = (found.boxes, found.scores, found.part_boxes, found.masks)
    assert {one.dtype for one in kept} == {torch.float32}


def test_cast_weights_give_what_autocast_gives():
    """Casting once and at every call is the same rounding, to the bit where no BatchNorm is folded."""
    detector, (images, _) = build("mask-rcnn-small", "model.backbone.norm=gn"), make_batch()
    with torch.no_grad(), autocast(CPU, "bf16"):
        cast_at_every_call = detector.detect(images).detections
    ready = detect(for_inference(detector, "bf16"), images)
    for one, other in zip(cast_at_every_call, ready, strict=True):
        for name in ("boxes", "scores", "labels", "masks"):
            assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("choice", [PARTS, CASCADE])
def test_given_boxes_score_and_lie_nearly_as_in_float32(choice):
    """Part boxes to 1 % of their side, mask probabilities to 0.02."""
    detector, (images, targets) = build(*choice), make_batch()
    boxes, labels = targets[0].boxes, targets[0].labels
    wide = detector.forward_with_given_boxes(images[0], boxes, labels)
    ready = for_inference(detector, "bf16")
    with autocast(CPU, "bf16"):
        narrow = ready.forward_with_given_boxes(images[0], boxes, labels)
    side = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)[:, None, None]
    assert ((wide.part_boxes - narrow.part_boxes).abs() / side).max() < 0.01
    assert (wide.masks - narrow.masks).abs().max() < 0.02


def test_the_table_is_cast_once_and_pooled_features_are_narrow():
    rows = FeatureTable.build([torch.rand(1, 8, 4, 4).bfloat16()], (4,))
    table = rows.for_pooling()
    assert (rows.rows.dtype, table.rows.dtype, table.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    assert table.for_pooling().rows is table.rows
    assert table.for_pooling().dtype == torch.bfloat16


@pytest.mark.parametrize("choice", [PARTS, PLACED])
def test_gradients_in_bfloat16_point_where_those_of_float32_do(choice):
    """Each parameter's is finite, and all together have a cosine above 0.99."""
    detector, (images, targets) = build(*choice).train(), make_batch()
    gradients = {}
    for precision in ("fp32", "bf16"):
        detector.zero_grad()
        torch.manual_seed(1)
        with autocast(CPU, precision):
            output = detector(images, targets)
        assert {value.dtype for value in output.losses.values()} == {torch.float32}
        torch.stack(list(output.losses.values())).sum().backward()
        gradients[precision] = {n: p.grad for n, p in detector.named_parameters() if p.requires_grad}
    for name, gradient in gradients["bf16"].items():
        assert gradient.dtype == torch.float32, name
        assert gradient.isfinite().all(), name
    both = [torch.cat([g.flatten() for g in one.values()]) for one in gradients.values()]
    assert nn.functional.cosine_similarity(*both, dim=0) > 0.99
