import copy

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.model.layers import (
    Conv2d,
    FoldedConv2d,
    FoldedNorm,
    MapLinear,
    ReLU6,
    fold_frozen_norms,
    group_norm,
    merge_folded_norms,
    scale_gradient,
    share,
)


def pair(groups=1):
    """Return a convolution and a frozen norm of numbers other than 0 and 1."""
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups, bias=False)
    norm = FrozenBatchNorm2d(8)
    for buffer in norm.buffers():
        buffer.copy_(0.5 + torch.rand(8))
    return nn.Sequential(conv, norm, nn.ReLU())


@pytest.mark.parametrize("groups", [1, 4])
def test_folding_and_merging_keep_names_and_values(groups):
    plain = pair(groups)
    folded = copy.deepcopy(plain)
    fold_frozen_norms(folded)
    assert [type(layer) for layer in folded] == [FoldedConv2d, FoldedNorm, nn.ReLU]
    assert list(folded.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(folded(x), plain(x))
    merged = copy.deepcopy(folded)
    merge_folded_norms(merged)
    assert [type(layer) for layer in merged] == [Conv2d, nn.Identity, nn.ReLU]
    torch.testing.assert_close(merged(x), plain(x))
    assert not any(p.requires_grad for p in merged.parameters())


def test_folding_draws_no_random_numbers_and_keeps_the_weights():
    module = pair()
    weight, state = module[0].weight, torch.get_rng_state()
    fold_frozen_norms(module)
    assert module[0].weight is weight
    merge_folded_norms(module)
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_of_a_folded_norm_can_be_loaded_and_converted():
    module, plain = pair(), pair()
    fold_frozen_norms(module)
    module.load_state_dict({name: value + 1 for name, value in module.state_dict().items()})
    plain.load_state_dict(module.state_dict())
    x = torch.randn(1, 4, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(module.to(torch.float64)(x), plain.to(torch.float64)(x))


def test_factors_of_a_folded_norm_are_made_once_for_given_numbers():
    module = pair()
    fold_frozen_norms(module)
    norm = module[1]
    with torch.inference_mode():
        norm.factors()  # a gradient could not go through what is made there
    first = norm.factors()
    assert not first[0].is_inference()
    assert norm.factors() is first
    norm.load_state_dict({name: 2 * value for name, value in norm.state_dict().items()})
    loaded = norm.factors()
    torch.testing.assert_close(loaded[0], first[0] * 2**0.5)
    assert norm.double().factors()[0].dtype == torch.float64


def test_sharing_replaces_a_child_and_copies_nothing_else():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    module.register_buffer("mean", torch.zeros(2))
    other = nn.Linear(2, 3)
    twin = share(module, **{"0": other})
    assert twin[0] is other
    assert module[0] is not other
    assert twin[1] is module[1]
    assert twin.mean is module.mean
    twin.mode = "its own"
    assert not hasattr(module, "mode")


def test_groups_have_at_least_eight_channels():
    assert [group_norm(channels).num_groups for channels in (256, 64, 48, 8, 4)] == [32, 8, 4, 1, 1]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_layer_on_maps_is_saved_as_the_matrix_that_others_hold(layout):
    torch.manual_seed(0)
    plain = nn.Linear(3 * 2 * 2, 5)
    torch.manual_seed(0)
    layer = MapLinear(3, 2, 5)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name])  # the same draws, too
    torch.manual_seed(1)
    plain.reset_parameters()
    layer.to(memory_format=layout).load_state_dict(plain.state_dict())
    assert layer.weight.is_contiguous(memory_format=layout)
    twin = MapLinear(3, 2, 5)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3, 2, 2)
    for one in (layer, twin):
        torch.testing.assert_close(one(x), plain(x.flatten(1)))
        with torch.no_grad():
            torch.testing.assert_close(one(x), plain(x.flatten(1)))
            assert one(x[:0]).shape == (0, 5)
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer.load_state_dict(nn.Linear(3 * 2, 5).state_dict())


def test_relu6_gives_the_values_and_gradients_of_pytorch_s():
    x = torch.tensor([-1.0, 0.0, 3.0, 6.0, 7.0], requires_grad=True)
    ours, plain = ReLU6()(x * 1), nn.ReLU6()(x)
    assert torch.equal(ours, plain)
    towards = torch.arange(1.0, 6.0)
    first, second = (torch.autograd.grad(y, x, towards)[0] for y in (ours, plain))
    assert torch.equal(first, second)
    with torch.no_grad():
        assert torch.equal(ReLU6()(x * 1), plain)


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0])
def test_the_gradient_is_scaled_and_the_value_is_not(factor):
    x = torch.tensor([0.1, -2.0], requires_grad=True)
    scaled = scale_gradient(x, factor)
    assert torch.equal(scaled, x)
    assert scaled.requires_grad is (factor > 0)
    if factor:
        assert torch.autograd.grad(scaled.sum(), x)[0].tolist() == [factor, factor]
