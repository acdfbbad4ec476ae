import pytest
import torch
from torch import nn

from dprd_cli.config.schema import TrainConfig
from dprd_cli.training.optimizer import (
    GradientClipper,
    build_optimizer,
    parameter_groups,
    part_parameters,
    set_learning_rate,
)


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


def test_sgd_decays_everything():
    groups = parameter_groups(Fake(), TrainConfig(optimizer="sgd"))
    assert [(g["lr_mult"], g["weight_decay"], len(g["params"])) for g in groups] == [(1.0, 1e-4, 8)]


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
