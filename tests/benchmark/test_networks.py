"""The same weights and images for both programs of a pair, without which no timing would say anything."""

import pytest
import torch
from torch import nn

from dprd_cli.benchmark.networks import BenchmarkImages, build_pair, lively_state
from dprd_cli.errors import UsageError
from dprd_cli.ops.boxes import paired_iou

INPUTS = BenchmarkImages((64, 96), 2, 10, torch.device("cpu"))


def test_images_and_objects_are_the_same_each_time():
    images, targets = INPUTS.images(), INPUTS.targets(5)
    assert [tuple(image.shape) for image in images] == [(3, 64, 96)] * 2
    assert not torch.equal(images[0], images[1])
    assert all(torch.equal(a, b) for a, b in zip(images, INPUTS.images(), strict=True))
    assert all(torch.equal(a.masks, b.masks) for a, b in zip(targets, INPUTS.targets(5), strict=True))


def test_objects_are_ellipses_inside_their_boxes():
    (target, _) = BenchmarkImages((400, 600), 2, 10, torch.device("cpu")).targets(6)
    assert target.masks.shape == (6, 400, 600)
    assert int(target.labels.max()) < 80
    corners = torch.tensor(
        [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in map(lambda m: torch.where(m), target.masks)]
    )
    assert (paired_iou(corners.float(), target.boxes) > 0.85).all()
    sides = target.boxes[:, 2:] - target.boxes[:, :2]
    filled = target.masks.sum((1, 2)) / sides.prod(1)
    torch.testing.assert_close(filled, torch.full((6,), torch.pi / 4), rtol=0.02, atol=0.02)


def test_weights_are_a_function_of_names_and_shapes():
    module = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    state = lively_state(module)
    nn.init.zeros_(module[0].weight)
    assert all(torch.equal(state[key], value) for key, value in lively_state(module).items())
    assert state["0.weight"].std() == pytest.approx((2 / 72) ** 0.5, rel=0.15)  # 8 x 3 x 3 inputs
    assert (state["1.running_var"] >= 0.8).all()
    assert state["1.num_batches_tracked"] == 0


def test_a_preset_stands_beside_the_mask_rcnn_of_its_size():
    pair = build_pair("mask-rcnn", "dprd-small", INPUTS)
    assert pair.names == ("mask-rcnn-small", "dprd-small")
    assert pair.detectors[0].roi_heads.parts is None
    assert pair.detectors[1].roi_heads.parts is not None
    for network, detector in zip(pair.networks, pair.detectors, strict=True):
        assert network.module is detector
        network.module.eval()
        found = network.read(network.detect())
        assert [one.masks.shape[1:] for one in found] == [(64, 96)] * 2
        assert all(len(one.boxes) == len(one.scores) == len(one.labels) == len(one.masks) for one in found)
        network.module.train()
        assert all(loss.isfinite() for loss in network.losses().values())


def test_two_presets_stand_beside_each_other():
    pair = build_pair("dprd-small", "dprd-placed-small", INPUTS)
    assert (pair.names, pair.both_ours) == (("dprd-small", "dprd-placed-small"), True)
    deformable, placed = (detector.roi_heads.parts for detector in pair.detectors)
    assert (type(deformable).__name__, type(placed).__name__) == ("DeformableParts", "LatentParts")
    assert {"loss_place_stage1"} == pair.networks[1].losses().keys() - pair.networks[0].losses().keys()


@pytest.mark.parametrize(
    ("against", "preset", "message"),
    [("torchvison", "dprd", "did you mean 'torchvision'"), ("mask-rcnn", "dprdd", "did you mean 'dprd'")],
)
def test_unknown_names_are_usage(against, preset, message):
    with pytest.raises(UsageError, match=message):
        build_pair(against, preset, INPUTS)
