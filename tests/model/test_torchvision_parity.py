"""Mask R-CNN is torchvision's: on the same state dict the same proposals, detections, masks and losses."""

from pathlib import Path

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.structures.detections import Target
from dprd_cli.weights.foreign import describe_file
from dprd_cli.weights.load import build_published

NUM_CLASSES = 4
SIZES = ((160, 224), (160, 288))  # the short side is torchvision's min_size: nothing is resized
NOTHING_SAMPLED = {
    "rpn": {"anchors_per_image": 10**6, "pre_nms_train": 600, "pre_nms_test": 70, "post_nms_train": 300},
    "sampling": {"rois_per_image": 10**6, "positive_fraction": 1.0},
}


def random_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights that keep activations of order one and give confident, varied detections."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, old in model.state_dict().items():
        normal = torch.randn(old.shape, generator=generator, dtype=torch.float64)
        fan_in = old[0].numel() if old.ndim > 1 else 1
        gain = 2.0
        if "cls_score" in name:
            gain = 6.0
        elif "bbox_pred" in name:
            gain = 0.1
        elif "mask_fcn_logits" in name:
            gain = 16.0
        elif "fpn" in name:
            gain = 1.0
        new = normal * (gain / fan_in) ** 0.5
        if name.endswith("running_var"):
            new = 0.8 + 0.4 * torch.rand(old.shape, generator=generator, dtype=torch.float64)
        elif name.endswith("num_batches_tracked"):
            new = old
        elif old.ndim < 2:
            is_scale = name.endswith("weight")
            low = 0.1 if "bn3" in name else 0.9
            new = low + 0.1 * normal.abs() if is_scale else 0.05 * normal
        state[name] = new.to(old.dtype) if old.is_floating_point() else old
    return state


@pytest.fixture(scope="module", params=["v1", "v2"])
def pair(request):
    """The same network of both, in float64, with two images and their objects."""
    build = maskrcnn_resnet50_fpn if request.param == "v1" else maskrcnn_resnet50_fpn_v2
    theirs = build(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES + 1,
        min_size=160,
        max_size=600,
        rpn_pre_nms_top_n_train=600,
        rpn_pre_nms_top_n_test=70,
        rpn_post_nms_top_n_train=300,
        trainable_backbone_layers=5,
    )
    theirs.load_state_dict(random_state(theirs))
    theirs.rpn.fg_bg_sampler = BalancedPositiveNegativeSampler(10**6, 0.5)
    theirs.roi_heads.fg_bg_sampler = BalancedPositiveNegativeSampler(10**6, 1.0)
    state = theirs.state_dict()
    path = Path("torchvision.pth")
    ours = build_published(describe_file(path, state), state, path, NOTHING_SAMPLED).detector.double()
    generator = torch.Generator().manual_seed(1)
    images = [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in SIZES]
    return theirs.double(), ours, images


def detect_with_theirs(theirs, images):
    """Return torchvision's (proposals, results with 28 x 28 masks), without the pasting into images."""
    seen = {}
    hooks = [
        theirs.rpn.register_forward_hook(lambda _, __, out: seen.update(proposals=out[0])),
        theirs.roi_heads.register_forward_hook(
            lambda _, __, out: seen.update(results=[dict(result) for result in out[0]])
        ),
    ]
    with torch.no_grad():
        theirs.eval()([image.double() / 255 for image in images])
    for hook in hooks:
        hook.remove()
    return seen["proposals"], seen["results"]


def close(a, b):
    torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_detections_are_torchvisions(pair):
    theirs, ours, images = pair
    proposals, results = detect_with_theirs(theirs, images)
    output = ours.eval().detect(images)
    for a, b in zip(output.proposals, proposals, strict=True):
        close(a, b)
    for mine, result in zip(output.detections, results, strict=True):
        assert len(mine) > 5
        assert mine.labels.tolist() == (result["labels"] - 1).tolist()
        close(mine.boxes, result["boxes"])
        close(mine.scores, result["scores"])
        close(mine.masks, result["masks"][:, 0])


@pytest.mark.slow
def test_an_image_without_detections(pair):
    theirs, ours, images = pair
    _, results = detect_with_theirs(theirs, images)
    best = sorted(result["scores"].max().item() for result in results)
    thresh = (best[0] + best[1]) / 2
    before = theirs.roi_heads.score_thresh, ours.roi_heads.selector.score_thresh
    theirs.roi_heads.score_thresh = ours.roi_heads.selector.score_thresh = thresh
    _, results = detect_with_theirs(theirs, images)
    detections = ours.eval().detect(images).detections
    theirs.roi_heads.score_thresh, ours.roi_heads.selector.score_thresh = before
    assert sorted(min(len(d), 1) for d in detections) == [0, 1]
    for mine, result in zip(detections, results, strict=True):
        assert mine.labels.tolist() == (result["labels"] - 1).tolist()
        close(mine.boxes, result["boxes"])
        close(mine.masks, result["masks"][:, 0])


def objects(size):
    """Two objects with elliptic masks, at places that depend on the size."""
    height, width = size
    boxes = torch.tensor([[20.0, 30.0, 90.0, 120.0], [width - 100.0, 40.0, width - 10.0, height - 15.0]])
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    across = ((x - center[:, :1]) / half[:, :1]) ** 2
    down = ((y - center[:, 1:]) / half[:, 1:]) ** 2
    return boxes.double(), torch.tensor([2, 0]), across[:, None] + down[:, :, None] <= 1


@pytest.mark.slow
def test_training_losses_are_torchvisions(pair):
    theirs, ours, images = pair
    targets, their_targets = [], []
    for size in SIZES:
        boxes, labels, masks = objects(size)
        targets.append(Target(boxes=boxes, labels=labels, image_size=size, masks=masks))
        their_targets.append({"boxes": boxes, "labels": labels + 1, "masks": masks.to(torch.uint8)})
    theirs.train()
    if isinstance(ours.backbone.body.bn1, FrozenBatchNorm2d):  # as theirs is with published weights
        theirs.backbone.body.eval()
    with torch.no_grad():
        expected = theirs([image.double() / 255 for image in images], their_targets)
        losses = ours.train()(images, targets).losses
    names = {
        "loss_objectness": "loss_rpn_cls",
        "loss_rpn_box_reg": "loss_rpn_reg",
        "loss_classifier": "loss_cls_stage1",
        "loss_box_reg": "loss_reg_stage1",
        "loss_mask": "loss_mask_stage1",
    }
    assert set(names) == set(expected)
    for their_name, name in names.items():
        assert expected[their_name] > 0
        close(losses[name], expected[their_name])
