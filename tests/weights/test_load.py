"""From a file to a detector that is ready."""

from contextlib import nullcontext

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError, UserError
from dprd_cli.runtime.process_group import ProcessGroup
from dprd_cli.weights.checkpoint import export_safetensors, save_checkpoint
from dprd_cli.weights.load import load_model, model_in_group
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
