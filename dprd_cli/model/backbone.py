"""Backbones: torchvision's ResNets, ResNeXt-101-32x8d and MobileNetV2, as C2..C5 extractors."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torchvision.models as tvm
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from dprd_cli.model.layers import NORMS, fold_frozen_norms

#: Name -> (torchvision constructor, channels of C2..C5); r10 has one block a stage.
_RESNETS = {
    "r10": (partial(ResNet, BasicBlock, [1, 1, 1, 1]), (64, 128, 256, 512)),
    "r18": (tvm.resnet18, (64, 128, 256, 512)),
    "r34": (tvm.resnet34, (64, 128, 256, 512)),
    "r50": (tvm.resnet50, (256, 512, 1024, 2048)),
    "r101": (tvm.resnet101, (256, 512, 1024, 2048)),
    "x101": (tvm.resnext101_32x8d, (256, 512, 1024, 2048)),
}
#: Where MobileNetV2's `features` are cut: stem, then the blocks up to strides 4, 8, 16 and 32.
_MOBILENET_CUTS = (0, 2, 4, 7, 14, 19)
_MOBILENET_CHANNELS = (24, 32, 96, 1280)

#: Name -> enum of torchvision's ImageNet weights.
IMAGENET_WEIGHTS = {
    "r18": tvm.ResNet18_Weights.IMAGENET1K_V1,
    "r34": tvm.ResNet34_Weights.IMAGENET1K_V1,
    "r50": tvm.ResNet50_Weights.IMAGENET1K_V1,
    "r101": tvm.ResNet101_Weights.IMAGENET1K_V1,
    "x101": tvm.ResNeXt101_32X8D_Weights.IMAGENET1K_V1,
    "mobilenet_v2": tvm.MobileNet_V2_Weights.IMAGENET1K_V1,
}


class Backbone(nn.Module):
    """Stem and four stages in a row; each stage's output is a feature.

    Args:
        name: A key of `IMAGENET_WEIGHTS`.
        body: The torchvision model without its classifier; state-dict keys are torchvision's under `body.`.
        stages: Names of modules in `body`, in order: the stem, then the stages of stride 4, 8, 16 and 32.
        channels: Channels of C2..C5.
        frozen_stages: How many of the stages, from the stem on, keep their weights.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        name: str,
        body: nn.Module,
        stages: list[list[str]],
        channels: tuple[int, ...],
        frozen_stages: int,
    ) -> None:
        super().__init__()
        self.name = name
        self.body = body
        self.stages = stages
        self.channels = channels
        for stage in stages[:frozen_stages]:
            for module in stage:
                body.get_submodule(module).requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C2..C5, strides 4 to 32, of normalised images [N, 3, H, W]. 4 x [N, C, H, W]."""
        features = []
        x = images
        for index, stage in enumerate(self.stages):
            for module in stage:
                x = self.body.get_submodule(module)(x)
            if index > 0:
                features.append(x)
        return features


def build_backbone(name: str, norm: str, frozen_stages: int, *, stride_in_1x1: bool = False) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: `r10`, or a key of `IMAGENET_WEIGHTS`.
        norm: `frozen_bn`, `bn` or `gn`.
        frozen_stages: Stages (the stem is the first) that are not trained.
        stride_in_1x1: Bottlenecks halve the resolution in their first 1x1 convolution, not in the 3x3 one.
    """
    norm_layer = NORMS[norm]
    if name == "mobilenet_v2":
        features = tvm.mobilenet_v2(weights=None, norm_layer=norm_layer).features
        fold_frozen_norms(features)
        body: nn.Module = nn.ModuleDict({"features": features})
        stages = [[f"features.{i}" for i in range(*cut)] for cut in pairwise(_MOBILENET_CUTS)]
        return Backbone(name, body, stages, _MOBILENET_CHANNELS, frozen_stages)
    constructor, channels = _RESNETS[name]
    body = constructor(norm_layer=norm_layer)
    assert isinstance(body, ResNet)
    fold_frozen_norms(body)
    del body.fc, body.avgpool
    if stride_in_1x1:
        for block in body.modules():
            if isinstance(block, Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    stages = [["conv1", "bn1", "relu", "maxpool"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    return Backbone(name, body, stages, channels, frozen_stages)


__all__ = ["IMAGENET_WEIGHTS", "Backbone", "build_backbone"]
