"""A checkpoint of a tiny network, for the tests that save and load it."""

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from paths import TINY


@pytest.fixture(scope="module")
def payload():
    config = resolve(config_file=TINY)
    torch.manual_seed(0)
    detector = build_detector(config.model, num_classes=2, with_masks=True)
    return {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog"],
        "category_ids": [17, 18],
        "with_masks": True,
        "model": detector.state_dict(),
        "step": 7,
    }
