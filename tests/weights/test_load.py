"""From a file to a detector that is ready, and what training from it implies."""

from contextlib import nullcontext

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError, UserError
from dprd_cli.runtime.process_group import ProcessGroup
from dprd_cli.weights.checkpoint import export_safetensors, save_checkpoint
from dprd_cli.weights.load import implied_by_backbone, implied_config, load_model, model_in_group, start_from
from paths import TINY


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_load_model_builds_what_was_saved(tmp_path, payload, suffix):
    path = tmp_path / f"model.{suffix}"
    if suffix == "pt":
        save_checkpoint(path, payload)
    else:
        export_safetensors(payload, path, {})
    model = load_model(str(path), "cpu")
    assert model.class_names == ("cat", "dog")
    assert model.category_ids == (17, 18)
    assert model.step == 7
    assert model.with_masks
    assert model.source == path
    assert model.config == resolve(config_file=TINY)
    assert not model.detector.training
    for key, tensor in model.detector.state_dict().items():
        assert torch.equal(tensor, payload["model"][key])


def test_another_class_count_is_named(tmp_path, payload):
    path = tmp_path / "x.pt"
    save_checkpoint(path, {**payload, "class_names": ["a", "b", "c"], "category_ids": [1, 2, 3]})
    with pytest.raises(UserError) as caught:
        load_model(str(path), "cpu")
    text = str(caught.value)
    assert text.startswith(f"{path}: checkpoint of another model or class count (")
    assert "expected [4, 16]" in text
    assert "\n" not in text


def test_a_tensor_that_is_not_finite_is_named(tmp_path, payload):
    path = tmp_path / "x.pt"
    name = next(iter(payload["model"]))
    bad = payload["model"][name].clone()
    bad[0] = float("nan")
    save_checkpoint(path, {**payload, "model": {**payload["model"], name: bad}})
    with pytest.raises(UserError) as caught:
        load_model(str(path), "cpu")
    assert str(caught.value) == f"{path}: {name} is not finite (of a run that diverged?); take another file"


def test_the_main_process_loads_first_and_says_what(tmp_path, payload, monkeypatch, caplog):
    path = tmp_path / "x.pt"
    save_checkpoint(path, payload)
    calls = []

    class Noted(ProcessGroup):
        def main_first(self, call):
            calls.append(call)
            return super().main_first(call)

    monkeypatch.setattr("dprd_cli.weights.load.join_process_group", lambda device: nullcontext(Noted()))
    with caplog.at_level("INFO", logger="dprd_cli"), model_in_group(str(path), "cpu") as (model, group):
        assert (model.step, group.is_main, len(calls)) == (7, True, 1)
    assert caplog.messages == [f"checkpoint: {path} (step 7)"]


def test_other_data_and_part_offsets_make_another_model_of_the_same_weights(tmp_path, payload):
    path = tmp_path / "x.pt"
    save_checkpoint(path, payload)
    model = load_model(str(path), "cpu")
    other = model.with_data(path="set", on_bad_image="skip", overrides=["data.limit=3"])
    data = other.config.data
    assert (data.path, data.limit, data.on_bad_image) == ("set", 3, "skip")
    assert other.config.model == model.config.model
    assert other.detector is model.detector
    placed = model.with_part_offsets("reference").detector.state_dict()
    assert all(torch.equal(placed[key], value) for key, value in payload["model"].items() if key in placed)
    with pytest.raises(UsageError, match=r"only data.\* keys can be set here"):
        model.with_data(overrides=["model.cascade.ious=[0.5]"])


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
