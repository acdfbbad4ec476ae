"""Backbones: the stages of an image classifier, as C2..C5 extractors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from dprd_cli.model.layers import Conv2d


class BackboneOptions(NamedTuple):
    """What a backbone is made from.

    Args:
        name: Its name in the configuration.
        norm: `frozen_bn`, `bn` or `gn`, in place of BatchNorm.
        frozen_stages: Stages (the stem is the first) that are not trained.
        stride_in_1x1: Bottlenecks halve the resolution in their first 1x1 convolution, not in the 3x3 one.
    """

    name: str
    norm: str
    frozen_stages: int
    stride_in_1x1: bool = False


class Backbone(nn.Module):
    """Stem and four stages in a row; each stage's output is a feature.

    Args:
        name: Its name in the configuration.
        body: The classifier without its last layers; state-dict keys are the published model's under `body.`.
        stages: Names of modules in `body`, in order: the stem, then the stages of stride 4, 8, 16 and 32.
        channels: Channels of C2..C5.
        frozen_stages: How many of the stages, from the stem on, keep their weights.
        norms: A normalisation of each feature, for networks whose stages end without one; else None.
        is_nhwc: Whether the stages give [N, H, W, C].
        left_out: Prefixes of the published model's tensors that a detector has no use for.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        name: str,
        body: nn.Module,
        stages: list[list[str]],
        channels: tuple[int, ...],
        frozen_stages: int,
        *,
        norms: nn.ModuleList | None = None,
        is_nhwc: bool = False,
        left_out: tuple[str, ...] = ("fc.", "classifier."),
    ) -> None:
        super().__init__()
        self.name = name
        self.body = body
        self.stages = stages
        self.channels = channels
        self.norms = norms
        self.is_nhwc = is_nhwc
        self.left_out = left_out
        replace_depthwise(body)
        for stage in stages[:frozen_stages]:
            for name_of_module in stage:
                freeze(body.get_submodule(name_of_module))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C2..C5, strides 4 to 32, of normalised images [N, 3, H, W]. 4 x [N, C, H, W]."""
        features = []
        x = images
        for index, stage in enumerate(self.stages):
            for module in stage:
                x = self.body.get_submodule(module)(x)
            if index > 0:
                features.append(self.feature(x, index - 1))
        return features

    def feature(self, x: Tensor, level: int) -> Tensor:
        """Return a stage's output, [N, C, H, W] or [N, H, W, C], as C2 + `level`. [N, C, H, W]."""
        if self.norms is not None:
            x = self.norms[level](x)
        return x.permute(0, 3, 1, 2) if self.is_nhwc else x

    def depth_of(self, parameter: str) -> int:
        """Return how many stages a parameter lies below the neck: 1 in C5's, 5 in the stem.

        What is in no stage, or in a network whose stages cannot be told apart, has 0.

        Args:
            parameter: Its name in this module.
        """
        for index, stage in enumerate(self.stages if len(self.stages) > 1 else ()):
            if any(parameter.startswith(f"body.{module}.") for module in stage):
                return len(self.stages) - index
        return 0


def freeze(module: nn.Module) -> None:
    """Keep a module's weights as they are, and none of its blocks out at random."""
    module.requires_grad_(requires_grad=False)
    for part in module.modules():
        if isinstance(part, StochasticDepth):
            part.p = 0.0


def replace_depthwise(module: nn.Module) -> None:
    """Let PyTorch's depthwise convolutions go by `ops.convolution.conv2d`; names of tensors stay."""
    for part in module.modules():
        if type(part) is nn.Conv2d and part.groups == part.in_channels > 1 and part.padding_mode == "zeros":
            part.__class__ = Conv2d  # which differs in how it is called alone
