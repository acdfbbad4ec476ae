"""One backbone of each family, whole: what is trained, what a step leaves, what is resumed and exported."""

import pytest
import torch

from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.training.optimizer import parameter_groups
from dprd_cli.weights.checkpoint import read_checkpoint
from networks import make_batch, small_config
from paths import TINY

TORCHVISION = ("convnext_tiny", "swin_v2_t", "efficientnet_v2_s", "regnet_y_400mf")
TIMM = ("timm:test_resnet.r160_in1k", "timm:test_vit2.r160_in1k")


@pytest.mark.parametrize("name", [*TORCHVISION, *TIMM])
def test_every_trained_parameter_has_a_gradient(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="the extra `timm` is not installed")
    torch.manual_seed(0)
    config = small_config("dprd-small", f"model.backbone.name={name}", "model.backbone.norm=bn")
    detector = build_detector(config, num_classes=6)
    images, targets = make_batch()
    torch.manual_seed(0)  # no block is left out by all images
    sum(detector(images, targets).losses.values()).backward()
    for key, parameter in detector.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_the_rate_falls_from_stage_to_stage():
    overrides = ["model.backbone.name=convnext_tiny", "model.backbone.weights=imagenet", "train.lr=1.0"]
    config = resolve(preset="mask-rcnn-small", overrides=overrides)
    assert config.train.layer_decay == 0.8
    with torch.device("meta"):
        detector = build_detector(config.model, num_classes=2)
    rates = {
        id(p): group["lr_mult"] for group in parameter_groups(detector, config.train) for p in group["params"]
    }
    names = dict(detector.named_parameters())
    assert rates[id(names["backbone.body.features.0.0.weight"])] == pytest.approx(0.8**5)
    assert rates[id(names["backbone.body.features.7.0.layer_scale"])] == pytest.approx(0.8)
    assert rates[id(names["backbone.norms.0.weight"])] == rates[id(names["neck.lateral.0.weight"])] == 1.0


def test_resnets_keep_one_rate_and_a_frozen_stem():
    config = resolve(preset="mask-rcnn", overrides=["model.backbone.weights=imagenet"])
    assert (config.train.layer_decay, config.model.backbone.frozen_stages) == (1.0, 2)


@pytest.mark.slow
def test_a_model_of_timm_is_trained_resumed_measured_and_exported(tmp_path, capsys):
    pytest.importorskip("timm", reason="the extra `timm` is not installed")
    level = ["--set", "train.decay=multistep", "--set", "train.milestones=[]"]
    tiny = ["--config", str(TINY), *level, "--backbone", "timm:test_convnext.r160_in1k", "--steps"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert run(["train", *tiny, "3", "--out", str(straight)]) == 0
    assert run(["train", *tiny, "2", "--out", str(stopped)]) == 0
    assert run(["train", "--resume", str(stopped), "--steps", "3"]) == 0
    one, other = (read_checkpoint(folder / "last.pt")["model"] for folder in (straight, stopped))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert run(["eval", "--weights", str(straight), "--limit", "1"]) == 0
    flags = ["--format", "torch-export", "--image-size", "64x64", "--batch", "1"]
    assert run(["export", str(straight), *flags, "--out", str(tmp_path / "model.pt2")]) == 0
    capsys.readouterr()
