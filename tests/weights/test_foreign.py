import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UserError
from dprd_cli.model.build import build_detector
from dprd_cli.weights.foreign import load_exactly, warm_start
from dprd_cli.weights.names import TABLES, candidates, translate

NARROW = [
    "model.neck.channels=16",
    "model.heads.box_dim=16",
    "model.heads.mask_channels=8",
    "model.heads.norm=none",
]


def make(preset, num_classes, backbone="r50"):
    overrides = [*NARROW, f"model.backbone.name={backbone}", "model.backbone.norm=frozen_bn"]
    return build_detector(resolve(preset=preset, overrides=overrides).model, num_classes=num_classes)


def detectron2_names(detector):
    """Return a detector's tensors by Detectron2's names."""
    single = len(detector.roi_heads.cascade) == 1
    state = {}
    for name, tensor in detector.state_dict().items():
        found = candidates(name, TABLES["detectron2"])
        state[found[-1 if single else 0]] = tensor.flip(1) if name == "backbone.body.conv1.weight" else tensor
    return state


@pytest.mark.parametrize("preset", ["mask-rcnn-small", "cascade-mrcnn-small"])
def test_translation_and_back(preset):
    torch.manual_seed(0)
    source, copy = make(preset, 3), make(preset, 3)
    load_exactly(copy, translate(detectron2_names(source), "detectron2", copy.state_dict()), "file")
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name]), name


def test_a_mask_rcnn_starts_every_stage_of_a_cascade():
    torch.manual_seed(0)
    source, target = make("mask-rcnn-small", 3), make("cascade-dprd-small", 3)
    found = translate(detectron2_names(source), "detectron2", target.state_dict())
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    lines = warm_start(target, found.state, "file", ("a", "b", "c"), ("a", "b", "c"))
    theirs = source.roi_heads.cascade[0]
    for stage in target.roi_heads.cascade:
        assert torch.equal(stage.box_head.fcs[0].weight, theirs.box_head.fcs[0].weight)
        assert torch.equal(stage.box_head.classes.weight, theirs.box_head.classes.weight)
        assert torch.equal(stage.mask_head.masks.weight, theirs.mask_head.masks.weight)
    # one box per class there, one for all here; fusion, MaskIoU heads and the part layer exist only here
    kept = {name for name, tensor in target.state_dict().items() if torch.equal(tensor, before[name])}
    fresh = [n for n in before if "box_head.deltas" in n or "fusion" in n or "mask_iou_head" in n]
    assert set(fresh) <= kept
    assert torch.equal(target.rpn.objectness.weight, source.rpn.objectness.weight)
    number = int(lines[0].split()[0])
    assert lines[0] == f"{number} of {len(before)} tensors from file"
    assert lines[-1].startswith("  fresh: ")
    assert "fusion" in lines[-1]
    assert "box head 6" in lines[-1]  # weight and bias of three stages' deltas


def test_classes_are_matched_by_name():
    torch.manual_seed(0)
    source, target = make("mask-rcnn-small", 3), make("mask-rcnn-small", 2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    lines = warm_start(target, source.state_dict(), "file", ("cat", "dog", "cow"), ("horse", "dog"))
    ours, theirs = target.roi_heads.cascade[0], source.roi_heads.cascade[0]
    assert torch.equal(ours.box_head.classes.weight[1], theirs.box_head.classes.weight[1])  # dog
    assert torch.equal(ours.box_head.classes.weight[2], theirs.box_head.classes.weight[3])  # background
    name = "roi_heads.stages.0.box_head.classes.weight"
    assert torch.equal(ours.box_head.classes.weight[0], before[name][0])  # horse is new
    assert torch.equal(ours.box_head.deltas.weight[4:8], theirs.box_head.deltas.weight[4:8])
    assert torch.equal(ours.mask_head.masks.bias[1], theirs.mask_head.masks.bias[1])
    assert "by name of 1 of 2 classes (dog)" in lines[1]


def test_the_same_number_of_other_classes_is_not_taken_for_the_same():
    torch.manual_seed(0)
    source, target = make("mask-rcnn-small", 2), make("mask-rcnn-small", 2)
    fresh = target.roi_heads.cascade[0].box_head.classes.weight[:2].clone()
    warm_start(target, source.state_dict(), "file", ("a", "b"), ("c", "d"))
    assert torch.equal(target.roi_heads.cascade[0].box_head.classes.weight[:2], fresh)


def test_another_backbone_is_an_error():
    source, target = make("mask-rcnn-small", 2, "r18"), make("mask-rcnn-small", 2, "mobilenet_v2")
    with pytest.raises(UserError, match="none of its tensors fits the backbone mobilenet_v2"):
        warm_start(target, source.state_dict(), "file", ("a", "b"), ("a", "b"))
