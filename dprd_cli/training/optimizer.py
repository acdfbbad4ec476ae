"""Parameter groups, and gradient clipping with what moves and what places parts each on its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from dprd_cli.config.schema import TrainConfig
from dprd_cli.model.backbone import Backbone

_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def part_parameters(detector: nn.Module) -> list[nn.Parameter]:
    """Return the trainable parameters that move parts by offsets (Eq. 2); none where there are none."""
    layer, places = getattr(detector, "part_layer", None), {id(p) for p in place_parameters(detector)}
    if not isinstance(layer, nn.Module):
        return []
    return [p for p in layer.parameters() if p.requires_grad and id(p) not in places]


def place_parameters(detector: nn.Module) -> list[nn.Parameter]:
    """Return the trainable parameters that choose the places of parts; none where there are none."""
    found: list[nn.Parameter] = getattr(detector, "place_parameters", [])
    return [p for p in found if p.requires_grad]


def parameter_groups(detector: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Sort the trainable parameters into groups, each with its `lr_mult` and `weight_decay`.

    Normalisation layers have a decay of their own. Under AdamW, biases (all else with fewer than two axes)
    are not decayed; under SGD they are, as in Detectron2.
    """
    part = {id(p) for p in part_parameters(detector)}
    place = {id(p) for p in place_parameters(detector)}
    backbone = _backbone_rates(detector.get_submodule("backbone"), config)
    norm = {id(p) for m in detector.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for parameter in detector.parameters():
        if not parameter.requires_grad:
            continue
        scale = 1.0
        if id(parameter) in part:
            scale = config.part_lr_mult
        elif id(parameter) in place:
            scale = config.place_lr_mult
        elif id(parameter) in backbone:
            scale = backbone[id(parameter)]
        decay = 0.0 if config.optimizer == "adamw" and parameter.ndim < 2 else config.weight_decay
        decay = config.weight_decay_norm if id(parameter) in norm else decay
        group = groups.setdefault((scale, decay), {"params": [], "lr_mult": scale, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


def _backbone_rates(backbone: nn.Module, config: TrainConfig) -> dict[int, float]:
    """Return the learning-rate factor of each parameter of the backbone, by its `id`."""
    decay = 1.0 if config.layer_decay == "auto" else config.layer_decay
    rates = {}
    for name, parameter in backbone.named_parameters():
        below = 0 if decay == 1 or not isinstance(backbone, Backbone) else backbone.depth_of(name)
        rates[id(parameter)] = config.backbone_lr_mult * decay**below
    return rates


def build_optimizer(detector: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer that the config names."""
    groups = parameter_groups(detector, config)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's learning rate to `rate` times the group's `lr_mult`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_mult"]


class GradientClipper:
    """Clips the gradients of what moves parts, what places them, and the rest separately; reports the norms.

    Args:
        detector: Its trainable parameters are clipped.
        config: `clip_norm`, `part_clip_norm` and `place_clip_norm`; 0 measures without clipping.
    """

    def __init__(self, detector: nn.Module, config: TrainConfig) -> None:
        part, place = part_parameters(detector), place_parameters(detector)
        known = {id(p) for p in (*part, *place)}
        rest = [p for p in detector.parameters() if p.requires_grad and id(p) not in known]
        self._groups = [("grad_norm", rest, config.clip_norm)]
        if part:
            self._groups.append(("part_grad_norm", part, config.part_clip_norm))
        if place:
            self._groups.append(("place_grad_norm", place, config.place_clip_norm))

    def __call__(self) -> dict[str, Tensor]:
        """Clip in place and return the norms before clipping, each a scalar."""
        norms = {}
        for name, parameters, limit in self._groups:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            if limit > 0:
                nn.utils.clip_grads_with_norm_(parameters, limit, norm)
            norms[name] = norm
        return norms


_WARMUP_START = 1e-3  # Detectron2's: warm-up begins at lr / 1000


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step.

    Linear warm-up from lr/1000 multiplies the decay, as in Detectron2.

    Args:
        config: Steps, lr, warm-up, decay and milestones.
        step: 0 .. steps-1.
    """
    return config.lr * _warmup(config, step) * _decay(config, step)


def _warmup(config: TrainConfig, step: int) -> float:
    if step >= config.warmup_steps:
        return 1.0
    share = step / config.warmup_steps
    return _WARMUP_START * (1 - share) + share


def _decay(config: TrainConfig, step: int) -> float:
    if config.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0)))
    passed = sum(step >= round(milestone * config.steps) for milestone in config.milestones)
    return 0.1**passed
