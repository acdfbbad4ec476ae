"""Layers that compute as PyTorch's do, by faster ways, and the initialisations that the heads share."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.ops.convolution import conv2d
from dprd_cli.ops.linear import map_linear
from dprd_cli.ops.normalisation import group_norm as normalise_groups
from dprd_cli.ops.precision import full_linear, full_precision, without_autocast


class GroupNorm(nn.GroupNorm):
    """Group normalisation that goes by `ops.normalisation.group_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise. [N, C, H, W]."""
        return normalise_groups(x, self.num_groups, self.weight, self.bias, self.eps)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return GroupNorm with up to 32 groups of at least 8 channels (32 of 8 at the paper's width of 256).

    Groups of one or two channels would normalise each channel alone, and take three times as long on a CPU.
    """
    groups = math.gcd(32, channels)
    while groups > 1 and channels < 8 * groups:
        groups //= 2
    return GroupNorm(groups, channels)


_Module = TypeVar("_Module", bound=nn.Module)


def share(module: _Module, **children: object) -> _Module:
    """Return a module with given children that shares its others, parameters and buffers with `module`."""
    own = (*module.children(), *module.parameters(recurse=False), *module.buffers(recurse=False))
    twin = copy.deepcopy(module, {id(value): value for value in own})
    for name, child in children.items():
        setattr(twin, name, child)
    return twin


#: Name in the configuration -> constructor from a channel count.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "bn": nn.BatchNorm2d,
    "frozen_bn": FrozenBatchNorm2d,
    "gn": group_norm,
}


class ConvBlock(nn.Sequential):
    """Layers that nobody looks between."""


def conv_block(
    in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, norm: str = "none"
) -> ConvBlock:
    """Return convolution (Kaiming fan-out), normalisation unless `norm` is `none`, and ReLU."""
    conv = nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=norm == "none"
    )
    kaiming_init(conv)
    layers: list[nn.Module] = [conv]
    if norm != "none":
        layers.append(NORMS[norm](out_channels))
    return ConvBlock(*layers, nn.ReLU(inplace=True))


def kaiming_init(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Kaiming normal by fan-out, zero bias (Detectron2's `c2_msra_fill`)."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def xavier_init(layer: nn.Conv2d | nn.Linear) -> None:
    """Uniform by fan-in with unit gain, zero bias (Detectron2's `c2_xavier_fill`)."""
    nn.init.kaiming_uniform_(layer.weight, a=1)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def normal_init(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    """Normal weights, zero bias."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class MapLinear(nn.Linear):
    """A fully connected layer on whole maps, in (C, S, S) order. [R, C, S, S] -> [R, dim].

    Its weight lies as maps do, [dim, C, S, S], so that both are read as they lie once both are channels-last;
    a matrix [dim, C*S*S] would be copied at each step, and its gradient too (1,024 maps of 256 x 7 x 7 to
    1,024 on a Xeon core, forward and backward: 0.85 s, so 0.59 s). In state dicts it is the matrix.

    Args:
        channels: C.
        size: S.
        dim: Width of the output.
    """

    def __init__(self, channels: int, size: int, dim: int) -> None:
        super().__init__(channels * size * size, dim)
        self.weight = nn.Parameter(self.weight.detach().view(dim, channels, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Map [R, C, S, S] to [R, dim]; see `map_linear`."""
        return map_linear(x, self.weight, self.bias)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:  # noqa: FBT001
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = destination[f"{prefix}weight"].flatten(1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        matrix = state_dict.get(f"{prefix}weight")
        if isinstance(matrix, Tensor) and matrix.shape == (self.out_features, self.in_features):
            state_dict[f"{prefix}weight"] = matrix.reshape(self.weight.shape)
        super()._load_from_state_dict(state_dict, prefix, *others, **named)


class Conv2d(nn.Conv2d):
    """A convolution that goes by `ops.convolution.conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve. [N, C, H, W]."""
        return conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class ReLU6(nn.Module):
    """max(0, min(x, 6)) in place, whose gradient is told from its result. [...] -> [...].

    PyTorch's in place keeps a copy of what it overwrites.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Limit `x` [...]."""
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x.requires_grad):
            return F.relu6(x, inplace=True)
        limited: Tensor = _ReLU6.apply(x)
        return limited


class _ReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        F.relu6(x, inplace=True)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (limited,) = ctx.saved_tensors
        grad: Tensor = torch.ops.aten.hardtanh_backward(grads[0], limited, 0.0, 6.0)
        return grad


def replace_relu6(module: nn.Module) -> None:
    """Put `ReLU6` in place of PyTorch's."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, ReLU6())


class FullLinear(nn.Linear):
    """A fully connected layer that computes in float32 under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., D]; see `full_linear`."""
        return full_linear(x, self.weight, self.bias)


class FullConv2d(Conv2d):
    """A convolution that computes in float32 under autocast too, and gives its result so."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve. [N, C, H, W]."""
        with without_autocast(x):
            return super().forward(full_precision(x))


class _ScaledGradient(torch.autograd.Function):
    """The same values; the gradient is multiplied by a factor on its way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return `x`, with its gradient multiplied by `factor` (0 detaches it). [...] -> [...]."""
    if factor == 0:
        return x.detach()
    if factor == 1 or not torch.is_grad_enabled():
        return x
    scaled: Tensor = _ScaledGradient.apply(x, factor)
    return scaled


def scale_gradients(pooled: tuple[Tensor, Tensor | None], factor: float) -> tuple[Tensor, Tensor | None]:
    """Scale the gradient into pooled features [R, C, S, S] and those of parts [R, P, C, S, S], if any."""
    whole, parts = pooled
    return scale_gradient(whole, factor), None if parts is None else scale_gradient(parts, factor)
