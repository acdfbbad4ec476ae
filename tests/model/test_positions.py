"""Part features that tell where they are from: nothing at first, only of the parts, in every branch."""

import math

import pytest
import torch

from dprd_cli.config.aliases import fill_old_values
from dprd_cli.model.build import build_detector
from dprd_cli.model.positions import PartPositions, relative_boxes
from dprd_cli.model.rois import RoIs
from networks import make_batch, small_config

FEW = ("model.sampling.rois_per_image=8", "model.rpn.post_nms_train=20")


def make(*overrides):
    torch.manual_seed(0)
    return build_detector(small_config("cascade-dprd-placed-small", *FEW, *overrides), num_classes=6)


def test_relative_boxes_are_in_sizes_of_the_roi():
    boxes = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
    parts = torch.tensor([[[10.0, 20.0, 30.0, 40.0]], [[50.0, 20.0, 90.0, 40.0]]])
    told = relative_boxes(boxes, parts)
    assert told[0, 0].tolist() == pytest.approx([-0.25, 0.0, math.log(0.5), 0.0])
    assert told[1, 0].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_boxes_without_a_size_are_told_in_numbers():
    told = relative_boxes(torch.zeros(2, 4), torch.zeros(3, 2, 4))
    assert told.isfinite().all()


def test_features_are_as_they_are_at_first_and_then_depend_on_where_they_are_from():
    positions = PartPositions(channels=5, width=8)
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(2, 1)
    parts = torch.tensor([[[0.0, 0.0, 10.0, 20.0], [10.0, 0.0, 20.0, 20.0]]])
    feature = torch.rand(1, 1, 5, 3, 3).repeat(1, 2, 1, 1, 1)
    assert torch.equal(positions(boxes, parts, feature), feature)
    torch.nn.init.normal_(positions.changes.weight)
    told = positions(boxes, parts, feature)
    assert not torch.allclose(told[0, 0], told[0, 1])
    shift = positions(boxes, parts, torch.zeros_like(feature))
    scale = positions(boxes, parts, torch.ones_like(feature)) - shift
    assert torch.allclose(told, feature * scale + shift, atol=1e-6)  # a channel as a whole
    with torch.inference_mode():  # in place
        assert torch.equal(positions(boxes, parts, feature.clone()), told)


def test_all_branches_of_a_network_share_one_and_train_it():
    detector = make()
    names = [name for name in detector.state_dict() if "positions" in name]
    of = [f"roi_heads.positions.{layer}." for layer in ("hidden", "changes")]
    assert names == [layer + kind for layer in of for kind in ("weight", "bias")]
    torch.nn.init.normal_(detector.roi_heads.positions.changes.weight, std=0.1)
    sum(detector.train()(*make_batch()).losses.values()).backward()
    assert all(bool(p.grad.any()) for p in detector.roi_heads.positions.parameters())


def test_wholes_are_told_nothing():
    detector = make().eval()
    rois = RoIs(torch.tensor([[20.0, 10, 70, 60]]), torch.tensor([0]), torch.zeros(1, 2, dtype=int))
    with torch.no_grad():
        _, features, _ = detector._propose(make_batch()[0], None)
        part_boxes = detector.roi_heads.parts(rois, features).boxes
        before = detector.roi_heads.pooler(rois, part_boxes, features, 7)
        torch.nn.init.normal_(detector.roi_heads.positions.changes.weight)
        after = detector.roi_heads.pooler(rois, part_boxes, features, 7)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_it_can_be_left_out_and_older_networks_have_none():
    assert make("model.parts.places.told=false").roi_heads.positions is None
    assert make("model.parts.mode=deformable").roi_heads.positions is None
    assert not fill_old_values(
        {
            "preset": "",
            "model": {"parts": {"sigma": 0.5}, "cascade": {"ious": [0.5]}},
            "data": {"flip": 0.5},
            "train": {"momentum": 0.9},
        }
    )["model"]["parts"]["places"]["told"]
