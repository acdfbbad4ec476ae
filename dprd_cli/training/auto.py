"""The schedule `auto` for a run: reads the data, measures the machine, chooses, and says what and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from dprd_cli.config.auto import AutoSchedule, choose
from dprd_cli.config.facts import MachineFacts
from dprd_cli.config.schema import Config
from dprd_cli.data.facts import count_training_images, data_facts
from dprd_cli.runtime.cores import available_cores
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.memory import available_memory
from dprd_cli.runtime.progress import say
from dprd_cli.weights.inventory import backbone_in_file, pretrained_backbones


def fit_schedule(config: Config, given: Mapping[str, Any], epochs: float | None = None) -> AutoSchedule:
    """Choose what is not given for the data and this machine, and say every choice with its reason.

    Args:
        config: `data` and `train.device` are used.
        given: Dotted key -> value of what is settled.
        epochs: Passes through the images, where they were asked for.

    Raises:
        DataError: If the data cannot be used.
        UsageError: If it is the built-in data.
    """
    data = data_facts(config.data)
    machine = machine_facts(config.train.device, str(given.get("model.backbone.weights", "")))
    plan = choose(data, machine, given, epochs)
    lines = plan.lines()
    if lines:
        say(f"auto: {data.line()}; {machine.line()}")
        for line in lines:
            say(f"  {line}")
    return plan


def machine_facts(device: str, backbone_weights: str = "") -> MachineFacts:
    """Measure the machine, and look for pretrained weights on it.

    Args:
        device: As for `pick_device`.
        backbone_weights: A file of weights that was given: it says which backbone it is of.
    """
    place, cores = pick_device(device), available_cores()
    named = backbone_in_file(backbone_weights)
    here = pretrained_backbones() if named is None else frozenset({named})
    if place.type == "cuda":
        free, _ = torch.cuda.mem_get_info(place)
        return MachineFacts("cuda", torch.cuda.get_device_name(place), free, cores, here)
    return MachineFacts("cpu", "the CPU", available_memory(), cores, here)


def steps_of(epochs: float, config: Config) -> int:
    """Return how many steps so many passes through the training images are.

    Args:
        epochs: Passes.
        config: Its data and batch size are used.

    Raises:
        DataError: If the data cannot be used.
    """
    return max(1, math.ceil(epochs * count_training_images(config.data) / config.train.batch_size))
