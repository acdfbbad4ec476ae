import pytest
import torch
from torch import nn

from dprd_cli.model.backbone import Backbone, freeze, replace_depthwise
from dprd_cli.model.layers import Conv2d
from networks import make_backbone


def test_a_stage_is_frozen_with_what_is_below_it():
    backbone = make_backbone("r10", frozen=2)
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}


def test_frozen_blocks_are_never_left_out():
    backbone = make_backbone("convnext_tiny", frozen=2)
    drops = [m.p for m in backbone.body.features[1].modules() if hasattr(m, "p")]
    assert drops
    assert not any(drops)
    block = nn.Sequential(nn.Linear(2, 2))
    freeze(block)
    assert not any(p.requires_grad for p in block.parameters())


def test_features_of_stages_that_end_in_nhwc():
    body = nn.ModuleDict({name: nn.Identity() for name in "abcde"})
    norms = nn.ModuleList(nn.LayerNorm(3) for _ in range(4))
    stages = [[name] for name in "abcde"]
    backbone = Backbone("own", body, stages, (3, 3, 3, 3), 0, norms=norms, is_nhwc=True)
    x = torch.randn(1, 4, 5, 3)
    (first, *_) = backbone(x)
    torch.testing.assert_close(first, norms[0](x).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("name", "parameter", "depth"),
    [
        ("r10", "body.conv1.weight", 5),
        ("r10", "body.layer1.0.conv1.weight", 4),
        ("r10", "body.layer4.0.conv1.weight", 1),
        ("convnext_tiny", "body.features.0.0.weight", 5),
        ("convnext_tiny", "body.features.7.0.block.0.weight", 1),
        ("convnext_tiny", "norms.0.weight", 0),
    ],
)
def test_how_deep_a_parameter_lies(name, parameter, depth):
    backbone = make_backbone(name, norm="bn")
    assert parameter in dict(backbone.named_parameters())
    assert backbone.depth_of(parameter) == depth


def test_depthwise_convolutions_alone_are_replaced():
    depthwise, other = nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, groups=2)
    odd = nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="circular")
    body = nn.Sequential(depthwise, nn.Sequential(other, odd))
    weights, x = dict(body.named_parameters()), torch.randn(1, 4, 9, 9)
    before = body(x)
    replace_depthwise(body)
    assert [type(one) for one in (depthwise, other, odd)] == [Conv2d, nn.Conv2d, nn.Conv2d]
    assert all(one is weights[name] for name, one in body.named_parameters())
    assert torch.equal(body(x), before)
