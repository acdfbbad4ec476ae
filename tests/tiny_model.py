"""A tiny model of each preset, with parts that move, for the tests of what is done with a model."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.weights.load import LoadedModel
from paths import TINY

PRESETS = ("cascade-dprd-small", "cascade-mrcnn-small", "dprd-small", "mask-rcnn-small")
IMAGE = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)


def tiny_model(preset="cascade-dprd-small", with_masks=True, names=("cat", "dog")):
    torch.manual_seed(0)
    config = resolve(config_file=TINY, preset=preset)
    detector = build_detector(config.model, num_classes=len(names), with_masks=with_masks)
    if detector.part_layer is not None:
        nn.init.normal_(detector.part_layer.bias, std=0.1)  # parts that move
    return LoadedModel(detector, config, names, (1, 2), with_masks, 0, Path("tiny.pt"))
