"""Which detectors are explained, how to get those that are missing, and what they are called."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.errors import UserError
from dprd_cli.gradcam import models
from dprd_cli.gradcam.models import load_models, model_titles
from tiny_model import PRESETS, tiny_model


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def make_run(preset, age=0):
    folder = Path("runs") / preset
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'preset = "{preset}"\n')
    (folder / "last.pt").write_bytes(b"")
    os.utime(folder / "last.pt", (1e9 - age, 1e9 - age))


def loaded_specs(monkeypatch, names=("tadpole",)):
    """Record what would be loaded, in place of loading it."""
    specs = []
    monkeypatch.setattr(
        models, "load_model", lambda spec, device: (specs.append(spec), tiny_model(names=names))[1]
    )
    return specs


def test_without_any_run_both_missing_detectors_are_named_with_a_command_each():
    with pytest.raises(UserError) as caught:
        load_models("", "cascade-mrcnn")
    assert str(caught.value) == (
        "two detectors are missing in runs/: a detector to compare with Cascade Mask R-CNN (train it with "
        "`dprd train --data DATA`), and Cascade Mask R-CNN (train it with `dprd train --data DATA --preset "
        "cascade-mrcnn`); two come along: `dprd gradcam ... --weights demo --compare cascade-mrcnn`"
    )
    make_run("cascade-mrcnn-small")
    with pytest.raises(UserError, match=r"^no run in runs/ is a detector to compare with Cascade"):
        load_models("", "cascade-mrcnn")


def test_a_network_is_not_compared_with_itself_because_it_is_the_newest(monkeypatch):
    make_run("cascade-mrcnn-small")
    make_run("cascade-dprd", age=5)
    specs = loaded_specs(monkeypatch)
    load_models("", "cascade-mrcnn")
    assert specs == ["runs/cascade-dprd", "runs/cascade-mrcnn-small"]


def test_beside_the_demo_the_demo_of_the_other_preset_is_taken(monkeypatch):
    make_run("cascade-mrcnn-small")
    specs = loaded_specs(monkeypatch)
    load_models("demo", "cascade-mrcnn")
    assert specs == ["demo", "demo-cascade-mrcnn"]


def test_published_weights_are_fetched_where_the_classes_fit_and_only_there(monkeypatch):
    asked = []
    monkeypatch.setattr(models, "fetch_file", lambda url, name, sha256: asked.append(name))
    specs = loaded_specs(monkeypatch, names=("zebra",))
    load_models("x.pt", "cascade-mrcnn")
    assert specs[1].startswith("detectron2:Misc/cascade_mask_rcnn")
    assert len(asked) == 1
    loaded_specs(monkeypatch, names=("tadpole",))
    with pytest.raises(UserError) as caught:
        load_models("x.pt", "cascade-mrcnn")
    assert str(caught.value) == (
        "no Cascade Mask R-CNN to compare with: no run of preset cascade-mrcnn in runs/; train one with "
        "`dprd train --data DATA --preset cascade-mrcnn` on the classes of tiny.pt"
    )
    assert len(asked) == 1


def test_a_failed_download_names_the_other_way(monkeypatch):
    def refuse(*_):
        raise UserError("cannot download it")

    monkeypatch.setattr(models, "fetch_file", refuse)
    loaded_specs(monkeypatch, names=("zebra",))
    with pytest.raises(UserError, match=r"to compare with: cannot download it; or train one"):
        load_models("x.pt", "cascade-mrcnn")


def test_two_networks_of_one_architecture_are_told_apart_by_their_runs():
    ours, other, same = tiny_model(PRESETS[0]), tiny_model(PRESETS[1]), tiny_model(PRESETS[0])
    assert model_titles([ours, other]) == ("Cascade D-PRD", "Cascade Mask R-CNN")
    named = [
        replace(ours, source=Path("runs/a/best.pt")),
        replace(same, source=Path("runs/b/last.pt")),
    ]
    assert model_titles(named) == ("Cascade D-PRD\na", "Cascade D-PRD\nb")
    assert model_titles([ours, same]) == ("Cascade D-PRD\ntiny (1)", "Cascade D-PRD\ntiny (2)")


def test_a_second_network_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match="no such checkpoint: gone"):
        load_models("gone", "")
