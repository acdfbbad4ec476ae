"""Weights and images by rule: the same in every program, as they are functions of names and seeds."""

import math

import pytest
import torch

from dprd_cli.benchmark.rule_weights import reference_image, reference_state, reference_tensor


def test_a_tensor_is_a_function_of_name_shape_and_seed():
    one = reference_tensor("a.weight", (4, 3), 1)
    assert torch.equal(one, reference_tensor("a.weight", (4, 3), 1))
    assert not torch.equal(one, reference_tensor("b.weight", (4, 3), 1))
    assert not torch.equal(one, reference_tensor("a.weight", (4, 3), 2))
    state = reference_state({"a.weight": (4, 3), "b.bias": (4,)}, 1, 1.0)
    assert torch.equal(state["a.weight"], one)
    assert state["b.bias"].shape == (4,)


@pytest.mark.parametrize(
    ("name", "shape", "deviation"),
    [
        ("backbone.res2.conv1.weight", (64, 64, 3, 3), math.sqrt(2 / 576)),
        ("backbone.fpn_output2.weight", (64, 64, 3, 3), math.sqrt(1 / 576)),
        ("backbone.bottom_up.stem.conv1.weight", (64, 3, 7, 7), math.sqrt(2 / 147) / 60),
        ("roi_heads.mask_head.deconv.weight", (64, 64, 2, 2), math.sqrt(2 / 64)),
        ("rpn.conv.bias", (4096,), 0.01),
        ("res2.norm.running_mean", (4096,), 0.05),
    ],
)
def test_scales_keep_activations_of_order_one(name, shape, deviation):
    assert reference_tensor(name, shape, 0, 60.0).std() == pytest.approx(deviation, rel=0.05)


def test_class_scores_do_not_depend_on_the_mean_of_what_comes_in():
    weight = reference_tensor("roi_heads.cls_score.weight", (81, 1024))
    assert weight.mean(dim=1).abs().max() < 1e-7
    assert weight.std() == pytest.approx(2.5 / 32, rel=0.05)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("a.norm.weight", 0.8, 1.2), ("a.conv3.norm.weight", 0.1, 0.25), ("a.norm.running_var", 0.8, 1.2)],
)
def test_norms_are_in_their_range(name, low, high):
    values = reference_tensor(name, (1000,))
    assert low <= values.min() < values.max() <= high


def test_an_image_has_colours_edges_and_a_seed():
    image = reference_image(48, 64)
    assert image.shape == (3, 48, 64)
    assert 0 <= image.min() < image.max() <= 255
    assert torch.equal(image, image.round())
    assert torch.equal(image, reference_image(48, 64))
    assert not torch.equal(image, reference_image(48, 64, seed=1))
