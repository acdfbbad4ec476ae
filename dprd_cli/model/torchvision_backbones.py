"""torchvision's classifiers as backbones, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torchvision.models as tvm
from torch import nn
from torchvision.models._api import WeightsEnum
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from dprd_cli.config.backbone_names import BACKBONES, CLASSICS
from dprd_cli.model.backbone import Backbone, BackboneOptions
from dprd_cli.model.folded_norms import fold_frozen_norms, replace_batch_norms
from dprd_cli.model.layers import NORMS, replace_relu6

#: Name -> (torchvision constructor, channels of C2..C5); r10 has one block a stage.
_RESNETS = {
    "r10": (partial(ResNet, BasicBlock, [1, 1, 1, 1]), (64, 128, 256, 512)),
    "r18": (tvm.resnet18, (64, 128, 256, 512)),
    "r34": (tvm.resnet34, (64, 128, 256, 512)),
    "r50": (tvm.resnet50, (256, 512, 1024, 2048)),
    "r101": (tvm.resnet101, (256, 512, 1024, 2048)),
    "x101": (tvm.resnext101_32x8d, (256, 512, 1024, 2048)),
}
#: Where a model's `features` are cut: stem, then the blocks up to strides 4, 8, 16 and 32.
_MOBILENET_CUTS = (0, 2, 4, 7, 14, 19)
_TRANSFORMER_CUTS = (0, 1, 2, 4, 6, 8)
_EFFICIENTNET_CUTS = {"s": (0, 2, 3, 4, 6, 7), "m": (0, 2, 3, 4, 6, 8)}
_MOBILENET_CHANNELS = (24, 32, 96, 1280)
_WIDTHS = {"tiny": 96, "small": 96, "base": 128, "large": 192, "t": 96, "s": 96, "b": 128}
_EFFICIENTNET_CHANNELS = {"s": (48, 64, 160, 256), "m": (48, 80, 176, 512)}
_REGNET_CHANNELS = {
    "x_400mf": (32, 64, 160, 400),
    "x_800mf": (64, 128, 288, 672),
    "x_1_6gf": (72, 168, 408, 912),
    "x_3_2gf": (96, 192, 432, 1008),
    "x_8gf": (80, 240, 720, 1920),
    "x_16gf": (256, 512, 896, 2048),
    "x_32gf": (336, 672, 1344, 2520),
    "y_400mf": (48, 104, 208, 440),
    "y_800mf": (64, 144, 320, 784),
    "y_1_6gf": (48, 120, 336, 888),
    "y_3_2gf": (72, 216, 576, 1512),
    "y_8gf": (224, 448, 896, 2016),
    "y_16gf": (224, 448, 1232, 3024),
    "y_32gf": (232, 696, 1392, 3712),
}


def _resnet(options: BackboneOptions) -> Backbone:
    constructor, channels = _RESNETS[options.name]
    body = constructor(norm_layer=NORMS[options.norm])
    assert isinstance(body, ResNet)
    fold_frozen_norms(body)
    del body.fc, body.avgpool
    if options.stride_in_1x1:
        for block in body.modules():
            if isinstance(block, Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    stages = [["conv1", "bn1", "relu", "maxpool"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    return Backbone(options.name, body, stages, channels, options.frozen_stages)


def _mobilenet(options: BackboneOptions) -> Backbone:
    features = tvm.mobilenet_v2(weights=None, norm_layer=NORMS[options.norm]).features
    fold_frozen_norms(features)
    replace_relu6(features)
    stages = _cut(_MOBILENET_CUTS)
    return Backbone(options.name, _holder(features), stages, _MOBILENET_CHANNELS, options.frozen_stages)


def _convnext(options: BackboneOptions) -> Backbone:
    channels = _doubled(options.name)
    return Backbone(
        options.name,
        _holder(tvm.get_model(options.name, weights=None).features),
        _cut(_TRANSFORMER_CUTS),
        channels,
        options.frozen_stages,
        norms=nn.ModuleList(LayerNorm2d(width, eps=1e-6) for width in channels),
    )


def _swin(options: BackboneOptions) -> Backbone:
    channels = _doubled(options.name)
    return Backbone(
        options.name,
        _holder(tvm.get_model(options.name, weights=None).features),
        _cut(_TRANSFORMER_CUTS),
        channels,
        options.frozen_stages,
        norms=nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for width in channels),
        is_nhwc=True,
        left_out=("norm.", "head."),
    )


def _efficientnet(options: BackboneOptions) -> Backbone:
    size = options.name[-1]
    cuts = _EFFICIENTNET_CUTS[size]
    features = tvm.get_model(options.name, weights=None).features[: cuts[-1]]
    body = _holder(features)
    replace_batch_norms(body, options.norm)
    return Backbone(
        options.name,
        body,
        _cut(cuts),
        _EFFICIENTNET_CHANNELS[size],
        options.frozen_stages,
        left_out=("classifier.", f"features.{cuts[-1]}."),
    )


def _regnet(options: BackboneOptions) -> Backbone:
    with torch.device("cpu"):  # it computes with tensors while it is made
        body = tvm.get_model(options.name, weights=None)
    body = body.to(torch.get_default_device())
    del body.fc, body.avgpool
    replace_batch_norms(body, options.norm)
    stages = [["stem"], *([f"trunk_output.block{number}"] for number in range(1, 5))]
    channels = _REGNET_CHANNELS[options.name.removeprefix("regnet_")]
    return Backbone(options.name, body, stages, channels, options.frozen_stages)


def _holder(features: nn.Module) -> nn.Module:
    return nn.ModuleDict({"features": features})


def _cut(cuts: tuple[int, ...]) -> list[list[str]]:
    return [[f"features.{index}" for index in range(*ends)] for ends in pairwise(cuts)]


def _doubled(name: str) -> tuple[int, ...]:
    width = _WIDTHS[name.rpartition("_")[2]]
    return (width, 2 * width, 4 * width, 8 * width)


_FAMILIES: dict[str, Callable[[BackboneOptions], Backbone]] = {
    "convnext": _convnext,
    "swin": _swin,
    "efficientnet": _efficientnet,
    "regnet": _regnet,
    "mobilenet": _mobilenet,
}


def build_torchvision(options: BackboneOptions) -> Backbone:
    """Build one of torchvision's classifiers as a backbone, with random weights.

    Args:
        options: `norm` replaces BatchNorm where the family has it.
    """
    return _FAMILIES.get(options.name.partition("_")[0], _resnet)(options)


#: Name -> torchvision's ImageNet weights: the first ones of the ResNets and of MobileNetV2, else the best.
IMAGENET_WEIGHTS: dict[str, WeightsEnum] = {
    "r18": tvm.ResNet18_Weights.IMAGENET1K_V1,
    "r34": tvm.ResNet34_Weights.IMAGENET1K_V1,
    "r50": tvm.ResNet50_Weights.IMAGENET1K_V1,
    "r101": tvm.ResNet101_Weights.IMAGENET1K_V1,
    "x101": tvm.ResNeXt101_32X8D_Weights.IMAGENET1K_V1,
    "mobilenet_v2": tvm.MobileNet_V2_Weights.IMAGENET1K_V1,
    **{name: tvm.get_model_weights(name).DEFAULT for name in BACKBONES if name not in CLASSICS},
}
