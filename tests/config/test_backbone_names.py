import pytest

from dprd_cli.config import registry
from dprd_cli.config.backbone_names import BACKBONES, frozen_stages, layer_decay
from dprd_cli.config.tree import parse_overrides, validate
from dprd_cli.errors import UsageError


@pytest.mark.parametrize("name", [*BACKBONES, "timm:anything"])
def test_names_that_the_configuration_takes(name):
    assert registry.backbone.knows(name)
    assert validate(parse_overrides([f"model.backbone.name={name}"])).model.backbone.name == name


@pytest.mark.parametrize("name", ["", "timm:", "resnet50", "convnext"])
def test_names_that_it_does_not_take(name):
    assert not registry.backbone.knows(name)
    with pytest.raises(UsageError, match="there is no such backbone"):
        validate({"model": {"backbone": {"name": name}}})


def test_what_is_usual_for_a_family():
    assert (frozen_stages("r50", pretrained=True), frozen_stages("swin_v2_t", pretrained=True)) == (2, 0)
    assert frozen_stages("r50", pretrained=False) == 0
    assert layer_decay("r50", pretrained=True) == layer_decay("swin_v2_t", pretrained=False) == 1.0
    assert (
        layer_decay("timm:convnextv2_atto", pretrained=True) == layer_decay("swin_v2_t", pretrained=True) < 1
    )
