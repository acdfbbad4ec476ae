"""What training starts from, and what configuration that implies."""

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError
from dprd_cli.weights.checkpoint import save_checkpoint
from dprd_cli.weights.load import load_model
from dprd_cli.weights.start import implied_by_backbone, implied_config, start_from
from paths import TINY


def test_training_from_a_checkpoint_takes_all_of_its_network_or_what_is_shared(tmp_path, payload):
    path = tmp_path / "x.pt"
    save_checkpoint(path, payload)
    config = resolve(config_file=TINY)
    preset, base = implied_config(str(path), None)
    assert preset == config.preset
    assert base == {"model": config.model.model_dump(mode="json")}
    preset, base = implied_config(str(path), "mask-rcnn")
    assert preset == "mask-rcnn"
    assert set(base["model"]) == {"backbone", "pixel_mean", "pixel_std", "neck"}


def test_training_from_published_weights_takes_their_backbone_and_scale():
    preset, base = implied_config("detectron2:mask_rcnn_X_101_32x8d_FPN_3x", "dprd")
    assert preset == "dprd"
    assert base["model"]["backbone"]["name"] == "x101"
    assert set(base["model"]) == {"backbone", "pixel_std"}
    assert implied_by_backbone("r101", "detectron2:MSRA/R-101")["model"]["backbone"]["name"] == "r101"
    assert implied_by_backbone("r50", "imagenet") == implied_by_backbone("r50", "none") == {}
    with pytest.raises(UsageError, match=r"the weights of a detector; pass them to --weights$"):
        implied_by_backbone("r50", "detectron2:mask_rcnn_R_50_FPN_3x")


def test_starting_from_the_same_network_takes_every_tensor(tmp_path, payload):
    path = tmp_path / "x.pt"
    save_checkpoint(path, payload)
    fresh = load_model(str(path), "cpu").detector
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)
    lines = start_from(fresh, str(path), ("cat", "dog"))
    assert str(path) in lines[0]
    assert all(torch.equal(value, payload["model"][key]) for key, value in fresh.state_dict().items())
