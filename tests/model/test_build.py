import pytest
import torch

from dprd_cli.config.model_schema import ModelConfig
from dprd_cli.config.presets import PRESETS, resolve
from dprd_cli.errors import UsageError
from dprd_cli.model.build import PARTS, build_detector
from networks import make_batch, small_config


@pytest.mark.parametrize("preset", [name for name in PRESETS if not name.endswith("-small")])
@pytest.mark.parametrize("backbone", ["r18", "r34", "r50", "r101", "x101", "mobilenet_v2"])
@pytest.mark.parametrize("norm", ["frozen_bn", "bn", "gn"])
def test_every_preset_builds_on_every_backbone(preset: str, backbone: str, norm: str):
    overrides = [f"model.backbone.name={backbone}", f"model.backbone.norm={norm}"]
    with torch.device("meta"):
        detector = build_detector(resolve(preset=preset, overrides=overrides).model, num_classes=5)
    assert (detector.part_layer is not None) is ("dprd" in preset)


def test_frozen_stages_and_frozen_norm():
    config = small_config("dprd-small", "model.backbone.norm=frozen_bn", "model.backbone.frozen_stages=2")
    detector = build_detector(config, num_classes=6)
    frozen = {name for name, p in detector.named_parameters() if not p.requires_grad}
    assert frozen == {
        name
        for name, _ in detector.named_parameters()
        if name.startswith(("backbone.body.conv1", "backbone.body.layer1"))
    }
    names = dict(detector.named_parameters())
    assert "backbone.body.bn1.weight" not in names


def test_moving_and_fixed_parts_start_from_the_same_weights_and_losses():
    found = []
    for mode in ("deformable", "fixed"):
        torch.manual_seed(3)
        config = small_config("cascade-dprd-small", f"model.parts.mode={mode}")
        detector = build_detector(config, num_classes=6).train()
        torch.manual_seed(4)
        found.append((detector.state_dict(), detector(*make_batch()).losses))
    (moving, losses), (fixed, same) = found
    assert {name for name in moving if name not in fixed} == {
        "roi_heads.parts.layer.weight",
        "roi_heads.parts.layer.bias",
        "roi_heads.parts.mean_offsets",
    }
    assert all(torch.equal(moving[name], value) for name, value in fixed.items())
    assert losses == same


def test_a_configuration_is_settled_first():
    with pytest.raises(ValueError, match="expected a settled config"):
        build_detector(ModelConfig(), num_classes=2)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["model.fusion.name=concat", "model.parts.count=16", "model.neck.channels=24"],
            "model.fusion.name=concat needs model.neck.channels divisible by 16 parts",
        ),
        (
            ["model.cascade.class_agnostic_box=false"],
            "model.cascade.class_agnostic_box=false needs a single stage",
        ),
    ],
)
def test_configurations_that_contradict_themselves(overrides, line):
    config = resolve(preset="cascade-dprd-small", overrides=overrides).model
    with torch.device("meta"), pytest.raises(UsageError) as caught:
        build_detector(config, num_classes=2)
    assert str(caught.value) == line


def test_an_experiment_can_put_parts_of_its_own_into_the_table(monkeypatch):
    """They need no weights, and no entry in the configuration: they are made from it."""
    fixed = PARTS["fixed"]
    monkeypatch.setitem(PARTS, "deformable", fixed)
    detector = build_detector(small_config("dprd-small"), num_classes=6)
    assert type(detector.roi_heads.parts) is type(fixed(small_config("dprd-small"), 6))
