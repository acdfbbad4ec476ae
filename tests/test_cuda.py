"""What only a CUDA device can show; each test is skipped without one."""

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.model.inference import for_inference
from dprd_cli.ops.masks import encode_rle
from dprd_cli.ops.roi_align import FeatureTable, roi_align
from dprd_cli.runtime.precision import autocast
from dprd_cli.structures.detections import Target

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


def scene():
    torch.manual_seed(0)
    images = [255 * torch.rand(3, 96, 128, device=CUDA) for _ in range(2)]
    masks = torch.zeros(1, 96, 128, dtype=torch.bool)
    masks[:, 20:60, 30:90] = True
    boxes = torch.tensor([[30.0, 20, 90, 60]])
    return images, [Target(boxes, torch.tensor([1]), (96, 128), masks).to(CUDA) for _ in range(2)]


@pytest.mark.parametrize("preset", ["mask-rcnn", "cascade-mrcnn", "dprd", "cascade-dprd"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_every_preset_trains_and_detects(preset, precision):
    config = resolve(preset=f"{preset}-small")
    detector = build_detector(config.model, num_classes=3).to(CUDA)
    images, targets = scene()
    with autocast(CUDA, precision):
        losses = detector(images, targets).losses
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()
    named = dict(detector.named_parameters())
    assert all(p.grad is None or p.grad.isfinite().all() for p in named.values())
    moving = [p for name, p in named.items() if name.endswith("parts.layer.bias")]
    assert len(moving) == ("dprd" in preset)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in moving)
    detector = for_inference(detector.eval(), precision)
    with torch.no_grad(), autocast(CUDA, detector.precision):
        assert len(detector(images)) == 2


@pytest.mark.parametrize("deterministic", [False, True])
def test_roi_align_has_the_cpu_s_values_and_gradients(deterministic):
    torch.manual_seed(1)
    features = [torch.randn(2, 32, 24, 32), torch.randn(2, 32, 12, 16)]
    boxes = torch.rand(50, 4) * 40
    boxes[:, 2:] += boxes[:, :2] + 4
    image, level = torch.arange(50) % 2, torch.arange(50) % 3 % 2
    answers = []
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        for device in (torch.device("cpu"), CUDA):
            leaves = [*(f.detach().to(device).requires_grad_() for f in features)]
            corners = boxes.to(device).requires_grad_()
            table = FeatureTable.build(leaves, (4, 8))
            pooled = roi_align(table, corners, image.to(device), level.to(device), 7)
            grads = torch.autograd.grad(pooled.square().sum(), [*leaves, corners])
            answers.append([pooled.cpu(), *(g.cpu() for g in grads)])
    finally:
        torch.use_deterministic_algorithms(False)
    for ours, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_masks_are_pasted_and_encoded_as_on_the_cpu():
    torch.manual_seed(2)
    masks = (torch.rand(20, 28, 28) > 0.5).float() * 0.8 + 0.1
    boxes = torch.rand(20, 4) * 60
    boxes[:, 2:] += boxes[:, :2] + 4
    ours = encode_rle(masks, boxes, (96, 128))
    there = encode_rle(masks.to(CUDA), boxes.to(CUDA), (96, 128))
    assert sum(a != b for a, b in zip(ours, there, strict=True)) <= 1  # rounding at the threshold
