import json

import pytest
import torch

from dprd_cli.model.build import build_detector
from dprd_cli.weights.names import TABLES, candidates, translate
from dprd_cli.weights.published import published_config
from dprd_cli.weights.zoo import ZOO
from paths import PARITY

FIXTURES = PARITY


def on_meta(name):
    """The network of published weights, without memory."""
    file = ZOO[name]
    with torch.device("meta"):
        return build_detector(published_config(file).model, num_classes=len(file.classes)), file


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("mask-rcnn-r50", "detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"),
        ("mask-rcnn-x101", "detectron2:COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x"),
        ("cascade-mask-rcnn-r50", "detectron2:Misc/cascade_mask_rcnn_R_50_FPN_3x"),
    ],
)
def test_every_tensor_of_detectron2_has_one_of_ours(fixture, name):
    shapes = dict(json.loads((FIXTURES / f"{fixture}.json").read_text())["keys"])
    detector, file = on_meta(name)
    own = detector.state_dict()
    found = translate({k: torch.empty(s, device="meta") for k, s in shapes.items()}, file.keys, own)
    assert found.unused == []
    assert set(found.state) == set(own)
    assert sorted(found.origin.values()) == sorted(shapes)  # each is used once
    assert all(found.state[key].shape == own[key].shape for key in own)


def test_names_of_all_tables():
    stage = "roi_heads.stages.2.box_head.fcs.0.weight"
    assert candidates(stage, TABLES["detectron2"]) == [
        "roi_heads.box_head.2.fc1.weight",
        "roi_heads.box_head.fc1.weight",
    ]
    assert candidates("neck.lateral.3.bias", TABLES["detectron2"]) == ["backbone.fpn_lateral5.bias"]
    body = "backbone.body.layer4.0.downsample.1.running_var"
    assert candidates(body, TABLES["detectron2"]) == ["backbone.bottom_up.res5.0.shortcut.norm.running_var"]
    assert candidates(body, TABLES["torchvision"]) == [body]
    assert candidates(body, TABLES["caffe2"]) == [
        "res5_0_branch1_bn_running_var",
        "res5_0_branch1_bn_riv",
    ]
    assert candidates("roi_heads.stages.0.fusion.whole.0.0.weight", TABLES["detectron2"]) == []


def test_detectron2_reads_bgr():
    weight = torch.arange(3.0).view(1, 3, 1, 1)
    found = translate(
        {"backbone.bottom_up.stem.conv1.weight": weight}, "detectron2", ["backbone.body.conv1.weight"]
    )
    assert found.state["backbone.body.conv1.weight"].flatten().tolist() == [2, 1, 0]


def test_torchvisions_background_comes_first():
    """Background, a, b there; a, b, background here. Box deltas and masks of the background go."""
    foreign = {
        "roi_heads.box_predictor.cls_score.bias": torch.tensor([9.0, 1.0, 2.0]),
        "roi_heads.box_predictor.bbox_pred.bias": torch.arange(12.0),
        "roi_heads.mask_predictor.mask_fcn_logits.bias": torch.tensor([9.0, 1.0, 2.0]),
    }
    head = "roi_heads.stages.0"
    wanted = [f"{head}.box_head.classes.bias", f"{head}.box_head.deltas.bias", f"{head}.mask_head.masks.bias"]
    found = translate(foreign, "torchvision", wanted)
    assert found.unused == []
    assert found.state[wanted[0]].tolist() == [1, 2, 9]
    assert found.state[wanted[1]].tolist() == list(range(4, 12))
    assert found.state[wanted[2]].tolist() == [1, 2]


def test_another_epsilon_is_moved_into_the_variance():
    found = translate(
        {"backbone.body.bn1.running_var": torch.tensor([0.5])},
        "torchvision",
        ["backbone.body.bn1.running_var"],
        norm_eps=0.0,
    )
    # 0.5 + 0 there is 0.49999 + 0.00001 here
    assert found.state["backbone.body.bn1.running_var"].item() == pytest.approx(0.49999, abs=1e-7)


def test_what_no_row_takes_is_reported():
    foreign = {"pixel_mean": torch.zeros(3), "backbone.bottom_up.stem.extra.weight": torch.zeros(1)}
    assert translate(foreign, "detectron2", []).unused == ["backbone.bottom_up.stem.extra.weight"]
