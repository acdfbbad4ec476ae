"""Convolutions that also do what follows them, for a network that is not trained: sums and ReLUs."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import Conv2dNormActivation

from dprd_cli.model.backbone import Backbone
from dprd_cli.model.layers import Conv2d, ConvBlock, FullConv2d, ReLU6
from dprd_cli.ops.convolution import activated_conv2d

#: Sequences that are run as a whole.
_BLOCKS = (ConvBlock, Conv2dNormActivation)
_ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.ReLU6: "relu6", ReLU6: "relu6"}


class ActivatedConv2d(nn.Conv2d):
    """A convolution, a sum and an activation in one; see `activated_conv2d`.

    Args:
        conv: Has the weights, which are shared.
        activation: `none`, `relu` or `relu6`.
    """

    def __init__(self, conv: nn.Conv2d, activation: str) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            (conv.kernel_size[0], conv.kernel_size[1]),
            (conv.stride[0], conv.stride[1]),
            padding=conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
            dilation=(conv.dilation[0], conv.dilation[1]),
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias, self.activation = conv.weight, conv.bias, activation

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Map [N, C, H, W], and [N, D, h, w] that is added, to [N, D, h, w]."""
        return activated_conv2d(
            x,
            self.weight,
            self.bias,
            self.activation,
            added,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class ResNetBlock(nn.Module):
    """A residual block whose convolutions do all of its work; see `ActivatedConv2d`.

    Args:
        block: Its BatchNorms are merged already; names of tensors stay.
    """

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        for name, child in block.named_children():
            if isinstance(child, nn.Conv2d):
                self.add_module(name, ActivatedConv2d(child, "relu"))
        self.downsample = block.downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, D, h, w]."""
        kept = x if self.downsample is None else self.downsample(x)
        *before, last = (child for child in self.children() if isinstance(child, ActivatedConv2d))
        for conv in before:
            x = conv(x)
        out: Tensor = last(x, kept)
        return out


class MobileNetBlock(nn.Module):
    """An inverted residual block whose last convolution also adds the input; see `ActivatedConv2d`.

    Args:
        block: It adds its input, its BatchNorms are merged already; names of tensors stay.
    """

    def __init__(self, block: InvertedResidual) -> None:
        super().__init__()
        self.conv = block.conv
        *_, last, _ = self.conv
        self.conv[-2] = ActivatedConv2d(last, "none")

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, H, W]."""
        *before, last, _ = self.conv
        inside = x
        for layer in before:
            inside = layer(inside)
        out: Tensor = last(inside, x)
        return out


def use_post_ops(module: nn.Module) -> None:
    """Let convolutions do the sums and ReLUs behind them; names of tensors stay.

    In modules of which it is known how they run their layers: a plugin may look between its own.

    Args:
        module: It is changed; its BatchNorms are merged already.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in (BasicBlock, Bottleneck) and _is_merged(child):
                setattr(parent, name, ResNetBlock(child))
            elif (
                type(child) is InvertedResidual
                and child.use_res_connect
                and _is_merged(child.get_submodule("conv"))
            ):
                setattr(parent, name, MobileNetBlock(child))
    for parent in list(module.modules()):
        if type(parent) is Backbone:
            for stage in parent.stages:
                _join(parent.body, stage)
        elif type(parent) in _BLOCKS:
            _join(parent, [name for name, _ in parent.named_children()])


def _is_merged(block: nn.Module) -> bool:
    """Whether nothing but convolutions and ReLUs is left in a block, all of one precision."""
    kept = (nn.Conv2d, nn.ReLU, nn.Identity)
    children = list(block.children())
    wide = any(isinstance(child, FullConv2d) for child in children)
    return not wide and all(isinstance(child, (*kept, nn.Sequential)) for child in children)


def _join(holder: nn.Module, names: list[str]) -> None:
    """Join convolutions with the activations behind them.

    Args:
        holder: Has the modules.
        names: Modules that run one after the other.
    """
    last = None
    for name in names:
        child = holder.get_submodule(name)
        if last is not None and type(child) in _ACTIVATIONS:
            conv = holder.get_submodule(last)
            assert isinstance(conv, nn.Conv2d)
            holder.set_submodule(last, ActivatedConv2d(conv, _ACTIVATIONS[type(child)]))
            holder.set_submodule(name, nn.Identity())
        if not isinstance(child, nn.Identity):
            plain = type(child) in (nn.Conv2d, Conv2d) and child.padding_mode == "zeros"
            last = name if plain and not isinstance(child.padding, str) else None
