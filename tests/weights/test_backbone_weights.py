import os
from urllib.error import URLError

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError, UserError
from dprd_cli.model.build import build_detector
from dprd_cli.weights import backbone_weights as weights
from dprd_cli.weights.backbone_weights import load_backbone_weights
from networks import make_backbone


def make_detector(backbone: str = "mobilenet_v2"):
    overrides = [f"model.backbone.name={backbone}", "model.backbone.norm=frozen_bn"]
    return build_detector(resolve(preset="dprd-small", overrides=overrides).model, num_classes=2)


def state_of(backbone: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return make_backbone(backbone, "bn", 0).body.state_dict()  # torchvision's keys, BatchNorm and all


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "r18"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.body."])
def test_every_tensor_is_loaded(tmp_path, backbone: str, prefix: str):
    state = state_of(backbone)
    path = tmp_path / "weights.pth"
    torch.save({f"{prefix}{key}": value for key, value in state.items()}, path)
    detector = make_detector(backbone)
    (line,) = load_backbone_weights(detector, str(path))
    loaded = detector.backbone.body.state_dict()
    assert f"{len(loaded)} tensors" in line
    assert all(torch.equal(loaded[key], state[key]) for key in loaded)


def test_the_classifier_is_left_out_and_said(tmp_path):
    state = {**state_of("r18"), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    (line,) = load_backbone_weights(make_detector("r18"), str(path))
    assert line.endswith("left out the classifier's 2")


def test_weights_of_another_backbone(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(state_of("r34"), path)
    with pytest.raises(UserError, match=r"not the weights of r18: \d+ tensors unknown"):
        load_backbone_weights(make_detector("r18"), str(path))
    torch.save(state_of("r18"), path)
    with pytest.raises(UserError, match=r"not the weights of r34: \d+ tensors missing"):
        load_backbone_weights(make_detector("r34"), str(path))


def test_a_wrong_shape_is_named(tmp_path):
    state = state_of("r18")
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(UserError, match=r"1 tensors of another shape \(layer1.0.conv1.weight\)"):
        load_backbone_weights(make_detector("r18"), str(path))


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_pickled_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Hostile()}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="contains pickled code; refused"):
        load_backbone_weights(make_detector("r18"), "weights.pth")
    assert not (tmp_path / "hacked").exists()


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth: cannot read the checkpoint"):
        load_backbone_weights(make_detector("r18"), str(tmp_path / "nowhere.pth"))


def test_offline_names_url_file_and_folder(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise URLError("network is unreachable")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("dprd_cli.files.downloads.urlopen", refuse)
    with pytest.raises(UserError) as caught:
        load_backbone_weights(make_detector("r18"), "imagenet")
    url = weights.IMAGENET_WEIGHTS["r18"].url
    message = str(caught.value)
    assert url in message
    assert str(tmp_path / "checkpoints") in message
    assert url.rsplit("/", 1)[1] in message


def test_r10_has_no_imagenet_weights():
    with pytest.raises(UsageError, match="no ImageNet weights for r10"):
        load_backbone_weights(make_detector("r10"), "imagenet")
