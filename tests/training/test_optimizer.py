import pytest
import torch
from torch import nn

from dprd_cli.config.schema import TrainConfig
from dprd_cli.model.build import build_detector
from dprd_cli.training.optimizer import (
    GradientClipper,
    build_optimizer,
    parameter_groups,
    part_parameters,
    set_learning_rate,
)
from networks import small_config


class Fake(nn.Module):
    def __init__(self, parts=True):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.part_layer = nn.Conv2d(2, 4, 1) if parts else None
        self.head = nn.Linear(2, 3)


def shapes(group):
    return sorted(tuple(p.shape) for p in group["params"])


def test_adamw_decays_matrices_only_and_each_part_has_its_rate():
    config = TrainConfig(optimizer="adamw", weight_decay=0.05, backbone_lr_mult=0.5, part_lr_mult=0.1)
    groups = {(g["lr_mult"], g["weight_decay"]): shapes(g) for g in parameter_groups(Fake(), config)}
    assert groups == {
        (0.5, 0.05): [(2, 1, 1, 1)],
        (0.5, 0.0): [(2,), (2,), (2,)],
        (0.1, 0.05): [(4, 2, 1, 1)],
        (0.1, 0.0): [(4,)],
        (1.0, 0.05): [(3, 2)],
        (1.0, 0.0): [(3,)],
    }


def test_sgd_decays_everything_but_normalisation():
    model = Fake()
    groups = parameter_groups(model, TrainConfig(optimizer="sgd", part_lr_mult=1.0))
    assert {(g["lr_mult"], g["weight_decay"]): len(g["params"]) for g in groups} == {
        (1.0, 1e-4): 6,
        (1.0, 0.0): 2,
    }
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in model.backbone[1].parameters()}
    config = TrainConfig(optimizer="sgd", part_lr_mult=1.0, weight_decay_norm=1e-4)
    assert [(g["weight_decay"], len(g["params"])) for g in parameter_groups(model, config)] == [(1e-4, 8)]


def test_a_detector_has_no_normalisation_of_another_kind():
    """Whatever is normalised in a network is known to have a decay of its own."""
    for preset in ("cascade-dprd-small", "dprd-placed-small"):
        detector = build_detector(small_config(preset), num_classes=3)
        groups = parameter_groups(detector, TrainConfig(optimizer="sgd", weight_decay_norm=0.5))
        decayed = {id(p) for g in groups if g["weight_decay"] == 0.5 for p in g["params"]}
        named = {id(p) for n, p in detector.named_parameters() if p.ndim == 1 and n.endswith("weight")}
        assert decayed >= named


def test_frozen_parameters_are_left_out():
    model = Fake()
    model.backbone.requires_grad_(False)
    assert sum(len(g["params"]) for g in parameter_groups(model, TrainConfig())) == 4


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_learning_rate_is_scaled_group_by_group(name, kind):
    optimizer = build_optimizer(Fake(), TrainConfig(optimizer=name, part_lr_mult=0.1))
    assert isinstance(optimizer, kind)
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5, 0.05}


def test_part_layer_and_the_rest_are_clipped_apart():
    model = Fake()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.part_layer.bias.grad[:] = torch.tensor([3.0, 4.0, 0.0, 0.0])  # norm 5
    model.head.bias.grad[:] = torch.tensor([6.0, 0.0, 8.0])  # norm 10
    norms = GradientClipper(model, TrainConfig(clip_norm=2.0, part_clip_norm=1.0))()
    assert {key: value.item() for key, value in norms.items()} == {"grad_norm": 10.0, "part_grad_norm": 5.0}
    torch.testing.assert_close(model.part_layer.bias.grad, torch.tensor([0.6, 0.8, 0.0, 0.0]))
    torch.testing.assert_close(model.head.bias.grad, torch.tensor([1.2, 0.0, 1.6]))


def test_zero_measures_without_clipping():
    model = Fake(parts=False)
    assert part_parameters(model) == []
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.head.bias.grad[:] = 4.0
    norms = GradientClipper(model, TrainConfig(clip_norm=0.0))()
    assert norms.keys() == {"grad_norm"}
    assert norms["grad_norm"].item() == pytest.approx(48**0.5)
    assert model.head.bias.grad.tolist() == [4.0, 4.0, 4.0]


def test_what_places_parts_has_a_rate_and_a_clip_of_its_own():
    config = TrainConfig(place_lr_mult=0.5, part_lr_mult=0.02, place_clip_norm=2.0)
    detector = build_detector(
        small_config("dprd-placed-small", "model.parts.places.offsets=true"), num_classes=3
    )
    rates = {id(p): group["lr_mult"] for group in parameter_groups(detector, config) for p in group["params"]}
    layer, scorer = detector.part_layer, detector.roi_heads.parts.scorer
    assert {rates[id(p)] for m in (layer.hidden, layer.places, scorer) for p in m.parameters()} == {0.5}
    assert {rates[id(p)] for p in layer.offsets.parameters()} == {0.02}
    assert [*map(id, part_parameters(detector))] == [*map(id, layer.offsets.parameters())]
    for parameter in layer.places.parameters():
        parameter.grad = torch.ones_like(parameter)
    norms = GradientClipper(detector, config)()
    assert norms["place_grad_norm"] > 2
    clipped = torch.cat([p.grad.flatten() for p in layer.places.parameters()])
    torch.testing.assert_close(clipped.norm(), torch.tensor(2.0))
