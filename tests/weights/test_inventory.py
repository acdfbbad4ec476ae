from pathlib import Path

import pytest
import torch

from dprd_cli.weights.included import INCLUDED
from dprd_cli.weights.inventory import backbone_in_file, pretrained_backbones, take_inventory
from networks import make_backbone


def test_what_comes_along_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(Path.home() / "no such torch"))
    found = take_inventory()
    assert (found.downloads, found.weights, found.included) == (
        "~/no such torch/hub/checkpoints",
        [],
        [*INCLUDED],
    )


def test_published_weights_that_are_here(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "someone" / "torch"))
    folder = tmp_path / "someone" / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth").touch()
    found = take_inventory()
    assert found.weights == ["torchvision:maskrcnn_resnet50_fpn"]
    assert found.downloads == ".../checkpoints"
    assert "someone" not in str(found.to_json())


def test_imagenet_backbones_that_are_here(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert pretrained_backbones() == frozenset()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    assert pretrained_backbones() == {"r18"}


@pytest.mark.parametrize("name", ["r10", "r18", "r34", "r50", "r101", "x101", "mobilenet_v2"])
def test_a_file_tells_its_backbone(tmp_path, name):
    with torch.device("meta"):
        keys = {key: value.shape for key, value in make_backbone(name, "bn", 0).body.state_dict().items()}
    wanted = ("layer3.", "layer1.0.conv", "features.18.0")
    state = {key: torch.zeros(shape) for key, shape in keys.items() if key.startswith(wanted)}
    state = {key: value[:1] for key, value in state.items() if value.ndim}
    torch.save(state, tmp_path / "backbone.pth")
    assert backbone_in_file(str(tmp_path / "backbone.pth")) == name


def test_other_specs_tell_nothing(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    assert [backbone_in_file(spec) for spec in ("", "imagenet", "none", str(tmp_path / "other.pth"))] == [
        None
    ] * 4
