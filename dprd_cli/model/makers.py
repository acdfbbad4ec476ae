"""The package's own backbones, necks and fusions by name, and a look at what plugins make."""

from __future__ import annotations

import torch
from torch import nn

from dprd_cli.config import registry
from dprd_cli.config.backbone_names import BACKBONES, TIMM
from dprd_cli.errors import UsageError
from dprd_cli.model.backbone import Backbone, BackboneOptions
from dprd_cli.model.fusion import ConcatFusion, FusionOptions, RDAFusion
from dprd_cli.model.fusion_tree import TreeFusion
from dprd_cli.model.neck import FPN, BiFPN, PANet
from dprd_cli.model.torchvision_backbones import build_torchvision


def _rda(options: FusionOptions) -> nn.Module:
    return RDAFusion(
        options.channels,
        options.num_parts,
        options.bottleneck,
        options.norm,
        residual=options.residual,
        last_rab=options.last_rab,
    )


def _concat(options: FusionOptions) -> nn.Module:
    if options.channels % options.num_parts:
        raise UsageError(
            f"model.fusion.name=concat needs model.neck.channels divisible by {options.num_parts} parts"
        )
    return ConcatFusion(options.channels, options.num_parts, options.norm, rectified=options.concat_relu)


def _tree(options: FusionOptions) -> nn.Module:
    return TreeFusion(
        options.channels, options.num_parts, options.bottleneck, options.norm, residual=options.residual
    )


def _timm(options: BackboneOptions) -> Backbone:
    from dprd_cli.model.timm_backbones import build_timm

    return build_timm(options)


def kind_of(thing: object) -> str:
    """Return what a plugin made, in words."""
    return f"{type(thing).__name__} (docs/extend.md)"


@torch.no_grad()
def check_features(backbone: Backbone, name: str) -> None:
    """Check that a plugin's backbone gives the maps that it says it does.

    Raises:
        UserError: If not.
    """
    side, was_training = 64, backbone.training
    try:
        shapes = [list(one.shape) for one in backbone.eval()(torch.zeros(1, 3, side, side))]
    except Exception as error:
        raise registry.backbone.failure(name, error) from error
    finally:
        backbone.train(was_training)
    expected = [
        [1, c, side // s, side // s] for c, s in zip(backbone.channels, Backbone.strides, strict=False)
    ]
    if shapes != expected:
        raise UsageError(
            f"model.backbone.name={name}: of an image [1, 3, {side}, {side}] it makes {shapes}, but its "
            f"channels {tuple(backbone.channels)} say {expected} (strides 4, 8, 16, 32)"
        )


registry.backbone.update(dict.fromkeys(BACKBONES, build_torchvision) | {TIMM: _timm})
registry.neck.update(
    fpn=lambda options: FPN(*options[:3]),
    panet=lambda options: PANet(*options[:3]),
    bifpn=lambda options: BiFPN(*options),
)
registry.fusion.update(rda=_rda, concat=_concat, tree=_tree)
