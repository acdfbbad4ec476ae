"""Frozen BatchNorm as a part of the convolution before it.

Where a channel of the published network hardly varied, its BatchNorm divides by next to nothing: the sum of
the convolution and the bias behind it are two large numbers that cancel. bfloat16 rounds a bias of 16 by up
to 0.03, and what is left is about 1; so such convolutions compute in float32. In ImageNet's MobileNetV2 it is
one, with a bias of 1,974. Its output was wrong by 6 %, and is by 3 %, since its input is rounded before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.model.layers import Conv2d, FullConv2d, group_norm
from dprd_cli.ops.convolution import conv2d
from dprd_cli.ops.precision import autocast_dtype, full_precision, without_autocast

_NUMBERS = {"weight", "bias", "running_mean", "running_var"}
_CANCELS = 16.0  # a bias that is larger is no addition to the sum, but takes it away


class FoldedConv2d(nn.Module):
    """A convolution that also does the work of the frozen BatchNorm behind it, by scaled weights and a bias.

    Its values are those of the two in a row, to rounding. On a CPU that saves two passes over the output,
    which take longer than a depthwise convolution (MobileNetV2 at 480 x 640: 0.29 s, folded 0.08 s).

    Args:
        conv: Has the weights, which are shared, and no bias.
        norm: Has the numbers; it is registered where it was, and only there.
    """

    def __init__(self, conv: nn.Conv2d, norm: FoldedNorm) -> None:
        super().__init__()
        self.weight = conv.weight
        self.stride, self.padding = conv.stride, conv.padding
        self.dilation, self.groups = conv.dilation, conv.groups
        self.norm = (norm,)  # in a tuple, so that it is not registered here

    def fold(self) -> tuple[Tensor, Tensor]:
        """Return the scaled weights, as large as `weight`, and the bias [C]."""
        scale, bias = self.norm[0].factors()
        return self.weight * scale[:, None, None, None], bias

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise. [N, C, H, W]."""
        weight, bias = self.fold()
        wide = autocast_dtype(x) == torch.bfloat16 and self.norm[0].cancels()
        with without_autocast(x) if wide else nullcontext():
            return conv2d(
                full_precision(x) if wide else x,
                weight,
                bias,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
                groups=self.groups,
            )

    def plain(self) -> nn.Conv2d:
        """Return a convolution that does the same with folded weights of its own, without gradient."""
        weight, bias = (nn.Parameter(value, requires_grad=False) for value in self.fold())
        channels, kernel = weight.shape[1] * self.groups, (weight.shape[2], weight.shape[3])
        steps: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        kind = FullConv2d if self.norm[0].cancels() else Conv2d
        conv = kind(channels, weight.shape[0], kernel, groups=self.groups, device="meta", **steps)
        conv.weight, conv.bias = weight, bias
        return conv


class FoldedNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """Frozen BatchNorm whose work `FoldedConv2d` does; it holds the numbers.

    Args:
        norm: It, or timm's, which is alike and has an activation behind its numbers; these are shared.
    """

    def __init__(self, norm: FrozenBatchNorm2d) -> None:
        super().__init__(len(norm.weight), norm.eps)
        for name, buffer in norm.named_buffers(recurse=False):
            setattr(self, name, buffer)
        for name, step in norm.named_children():
            self.add_module(name, step)
        self._known: tuple[Tensor, bool] | None = None
        self._kept: tuple[list[tuple[Tensor, int]], tuple[Tensor, Tensor]] | None = None

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the factor and the bias of each channel, [C] each; they are made once for given numbers.

        A backbone has dozens of them, of five operations each: a small step on a GPU waits for every one.
        """
        if torch.is_inference_mode_enabled() or torch.compiler.is_compiling():
            return self._factors()  # what is made there is of no use elsewhere
        numbers = (self.weight, self.bias, self.running_mean, self.running_var)
        if self._kept is None or not all(
            now is then and now._version == version  # noqa: SLF001
            for now, (then, version) in zip(numbers, self._kept[0], strict=True)
        ):
            self._kept = [(value, value._version) for value in numbers], self._factors()  # noqa: SLF001
        return self._kept[1]

    def cancels(self) -> bool:
        """Whether the bias of a channel is large; told once for given numbers. While compiling it is not."""
        if torch.compiler.is_compiling():
            return False
        bias = self.factors()[1]
        if self._known is None or self._known[0] is not bias:
            self._known = bias, bool((bias.abs() > _CANCELS).any())
        return self._known[1]

    def _factors(self) -> tuple[Tensor, Tensor]:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` [N, C, H, W] as it is, or activated."""
        for step in self.children():
            x = step(x)
        return x


def is_frozen_norm(module: nn.Module) -> bool:
    """Whether it is BatchNorm with four numbers a channel that are never trained, torchvision's or timm's."""
    return {name for name, _ in module.named_buffers(recurse=False)} >= _NUMBERS


def fold_frozen_norms(module: nn.Module) -> None:
    """Let every convolution before a frozen BatchNorm do that one's work; names of tensors stay.

    Args:
        module: Its convolutions are registered just before their BatchNorm, as torchvision's are.
    """
    for parent in list(module.modules()):
        for (conv_name, _), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(norm, FrozenBatchNorm2d):
                fold_pairs(parent, [(conv_name, norm_name)])


def fold_pairs(module: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Let convolutions do the work of frozen BatchNorms; names of tensors stay.

    Args:
        module: Has both.
        pairs: Name of each convolution, which has no bias, and of the norm that alone reads its output.
    """
    for conv_name, norm_name in pairs:
        conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is None
        folded = FoldedNorm(norm)
        module.set_submodule(conv_name, FoldedConv2d(conv, folded))
        module.set_submodule(norm_name, folded)


def replace_batch_norms(module: nn.Module, norm: str) -> None:
    """Put `bn`, `frozen_bn` or `gn` in place of every BatchNorm; the names of tensors stay."""
    for parent in list(module.modules()):
        for name, old in list(parent.named_children()):
            if isinstance(old, nn.BatchNorm2d) and norm != "bn":
                frozen = norm == "frozen_bn"
                new = FrozenBatchNorm2d(old.num_features, old.eps) if frozen else group_norm(old.num_features)
                setattr(parent, name, new)
    if norm == "frozen_bn":
        fold_frozen_norms(module)


def merge_folded_norms(module: nn.Module) -> None:
    """Replace folded pairs by plain convolutions that hold the product, for a network that trains no more."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FoldedConv2d):
                setattr(parent, name, child.plain())
            elif isinstance(child, FoldedNorm):
                steps = list(child.children())
                setattr(parent, name, nn.Sequential(*steps) if steps else nn.Identity())
