import pytest
import torch
from torch import nn

from dprd_cli.model.layers import (
    FullConv2d,
    MapLinear,
    ReLU6,
    group_norm,
    scale_gradient,
    share,
)


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


def test_a_full_convolution_is_in_float32_under_autocast_too():
    layer, x = FullConv2d(3, 4, 3, padding=1), torch.randn(2, 3, 5, 5)
    plain = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), plain)
        assert layer(x.bfloat16()).dtype == torch.float32
