"""Backbones whose convolutions do the sums and ReLUs behind them, against the plain ones."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dprd_cli.model.backbone import BackboneOptions
from dprd_cli.model.folded_norms import merge_folded_norms
from dprd_cli.model.layers import ConvBlock
from dprd_cli.model.post_ops import ActivatedConv2d, use_post_ops
from dprd_cli.model.torchvision_backbones import build_torchvision


def backbone(name, norm="frozen_bn"):
    torch.manual_seed(0)
    made = build_torchvision(BackboneOptions(name, norm, frozen_stages=2)).eval()
    for key, buffer in made.named_buffers():  # BatchNorm that does something
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    merge_folded_norms(made)
    return made


def joined(plain, dtype=torch.float32):
    made = copy.deepcopy(plain).to(dtype)
    use_post_ops(made)
    return made


class MapOperators(TorchDispatchMode):
    """Counts the operators on maps [N, C, H, W] by name."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if args and isinstance(args[0], torch.Tensor) and args[0].ndim == 4 and not func.is_view:
            self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})


def images():
    return torch.randn(2, 3, 64, 96).contiguous(memory_format=torch.channels_last)


def assert_alike(one, other):
    """Largest difference below 0.1 % of the largest value."""
    for a, b in zip(one, other, strict=True):
        assert (a - b).abs().max() < 1e-3 * b.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "convolutions"), [("r18", 20), ("r50", 53), ("mobilenet_v2", 52)])
def test_a_backbone_on_a_cpu_is_nothing_but_convolutions(name, convolutions, dtype):
    """Of a ResNet also its pooling: no sum, no activation, no normalisation, no copy."""
    ready, batch = joined(backbone(name), dtype), images().to(dtype)
    with torch.no_grad(), MapOperators() as operators:
        ready(batch)
    fused = sum(count for name, count in operators.calls.items() if "convolution" in name)
    others = {name for name in operators.calls if "convolution" not in name}
    assert fused == convolutions
    assert others <= {"max_pool2d_with_indices"}


@pytest.mark.parametrize("norm", ["frozen_bn", "bn", "gn"])
@pytest.mark.parametrize("name", ["r18", "r50", "mobilenet_v2", "efficientnet_v2_s", "regnet_x_400mf"])
def test_features_and_names_of_tensors_stay(name, norm):
    plain, batch = backbone(name, norm), images()
    with torch.no_grad():
        assert_alike(joined(plain)(batch), plain(batch))
    assert [*joined(plain).state_dict()] == [*plain.state_dict()]


def test_grouped_convolutions_are_joined_too():
    plain, batch = backbone("x101"), images()[:1]
    with torch.no_grad():
        assert_alike(joined(plain)(batch), plain(batch))


def test_a_gradient_goes_the_plain_way():
    """Grad-CAM differentiates the network for inference."""
    plain, batch = backbone("r50"), images().requires_grad_()
    sums = [sum(one.square().mean() for one in made(batch)) for made in (joined(plain), plain)]
    ours, theirs = (torch.autograd.grad(one, batch)[0] for one in sums)
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_what_is_not_followed_by_an_activation_stays():
    made = ConvBlock(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(4, 4, 1),
        nn.GELU(),
    )
    kinds = [type(module) for module in made]
    use_post_ops(made)
    assert [type(module) for module in made] == kinds


class Backwards(ConvBlock):
    """A plugin's sequence, which it runs in another order."""

    def forward(self, x):
        for module in reversed(self):
            x = module(x)
        return x


@pytest.mark.parametrize("kind", [Backwards, nn.Sequential])
def test_layers_that_a_plugin_may_look_between_stay(kind):
    made = nn.ModuleList([kind(nn.Conv2d(3, 3, 1), nn.ReLU())])
    use_post_ops(made)
    assert not any(isinstance(module, ActivatedConv2d) for module in made.modules())
