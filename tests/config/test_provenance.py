import json
from pathlib import Path

import pytest

from dprd_cli.config.presets import PRESETS, resolve
from dprd_cli.config.provenance import explain, json_schema
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import flatten, known_keys, read_toml, to_toml, validate
from dprd_cli.errors import UsageError, UserError
from dprd_cli.weights.named_config import named_base
from paths import ROOT


def explained(spec="", **options):
    return explain(named_base(spec), **options)


DEMO = ROOT / "assets" / "demo.safetensors"


def changed(spec="", **options):
    return {key: why for key, why in explained(spec, **options).origins.items() if why != "default"}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_config_is_that_of_a_training(preset):
    found = explained(preset, schedule="voc", overrides=["train.lr=0.5"])
    assert found.config == resolve(preset=preset, schedule="voc", overrides=["train.lr=0.5"])
    assert found.origins.keys() == set(known_keys())


def test_what_differs_from_the_default_has_another_origin():
    found, default = explained("dprd-medium", schedule="3x"), flatten(Config())
    values = flatten(found.config)
    assert {k for k, why in found.origins.items() if why == "default"} == {
        k for k in values if values[k] == default[k]
    }


def test_a_preset_comes_before_the_schedule():
    found = explained("dprd", schedule="1x")
    assert found.config == resolve(preset="dprd", schedule="1x")
    assert found.origins["data.skip_empty"] == "schedule 1x"
    assert found.origins["model.cascade.ious"] == "preset dprd"


def test_each_source_by_name(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('preset = "dprd"\nschedule = "3x"\n[train]\nlr = 0.5\nmomentum = 0.9\nseed = 4\n')
    found = changed(str(file), flags={"model.backbone.name": "r18"}, overrides=["train.seed=7"])
    assert found == {
        "preset": "preset dprd",
        "schedule": "schedule 3x",
        "data.skip_empty": "schedule 3x",
        **dict.fromkeys(
            (
                "model.cascade.ious",
                "model.cascade.box_weights",
                "model.cascade.part_stages",
                "model.cascade.mask_stages",
                "model.cascade.class_agnostic_box",
                "model.cascade.feature_grad_scale",
            ),
            "preset dprd",
        ),
        "train.steps": "schedule 3x",
        "train.milestones": "schedule 3x",
        "train.lr": str(file),  # momentum is only repeated
        "train.seed": "--set",
        "model.backbone.name": "options",
        **dict.fromkeys((f"model.backbone.{key}" for key in ("norm", "frozen_stages", "weights")), "auto"),
        "train.layer_decay": "auto",
        "model.cascade.mask_grad_scale": "auto",
    }


def test_what_is_settled_from_other_values_is_auto():
    own = explained("dprd", flags={"data.path": "photos"})
    assert own.config.model.backbone.weights == "imagenet"
    assert own.origins["model.backbone.weights"] == own.origins["model.backbone.norm"] == "auto"
    assert own.origins["data.path"] == "options"
    named = explained("dprd", overrides=["model.backbone.norm=gn"])
    assert named.origins["model.backbone.norm"] == "--set"


def test_values_that_fit_only_together():
    pair = ["model.cascade.ious=[0.5, 0.6]", "model.cascade.box_weights=[[9, 9, 5, 5], [9, 9, 5, 5]]"]
    more = ["model.cascade.part_stages=[1]", "model.cascade.mask_stages=[1, 2]"]
    assert explained(overrides=[*pair, *more]).origins["model.cascade.ious"] == "--set"


def test_a_run_is_explained_by_its_preset_and_schedule(tmp_path):
    config = resolve(preset="mask-rcnn-small", overrides=["train.seed=3"])
    (tmp_path / "config.toml").write_text(to_toml(config))
    found = explained(str(tmp_path))
    assert found.config == config
    assert [k for k, why in found.origins.items() if why == str(tmp_path / "config.toml")] == ["train.seed"]
    assert found.origins["model.neck.channels"] == "preset mask-rcnn-small"


def test_checkpoints_and_published_weights():
    for spec in ("demo", str(DEMO)):
        found = explained(spec)
        assert (found.config.preset, found.config.schedule) == ("cascade-dprd-small", "small")
    found = explained("torchvision:maskrcnn_resnet50_fpn")
    assert found.config.model.conventions == "torchvision"
    assert found.origins["model.conventions"] == "torchvision:maskrcnn_resnet50_fpn"


@pytest.mark.parametrize("changed_only", [False, True])
def test_the_toml_gives_the_config_back(tmp_path, changed_only):
    found = explained("cascade-mrcnn-medium", schedule="photos", overrides=["data.path=x"])
    file = tmp_path / "a.toml"
    file.write_text(found.to_toml(changed=changed_only))
    assert resolve(config_file=file) == found.config
    assert validate(read_toml(file)).train.lr == found.config.train.lr
    lines = file.read_text().splitlines()
    assert 'path = "x"                                    # --set' in lines
    assert ("seed = 0                                      # default" in lines) is not changed_only
    assert all("  # " in line for line in lines if " = " in line)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            "cascade-dprt",
            UsageError,
            "no such preset, config file, run or checkpoint (did you mean 'cascade-",
        ),
        ("gone.toml", UsageError, "'gone.toml': no such preset"),
        (".", UserError, "no checkpoint in ./"),
        ("bad.toml", UsageError, "bad.toml: not a TOML config file"),
        ("key.toml", UsageError, "key.toml: no config key 'train.lrr' (did you mean 'train.lr'?)"),
        ("text.pt", UserError, "text.pt"),
        ("detectron2:nothing", UsageError, "no published weights"),
    ],
)
def test_what_stands_for_nothing(tmp_path, monkeypatch, spec, error, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("[")
    Path("key.toml").write_text("[train]\nlrr = 1\n")
    Path("text.pt").write_text("hello")
    with pytest.raises(error) as caught:
        explained(spec)
    assert message in str(caught.value)


def test_the_schema_describes_every_key():
    schema = json_schema()
    json.dumps(schema)
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12")
    described = {}
    for key in known_keys():
        tree = schema
        for name in key.split("."):
            entry = tree["properties"][name]
            tree = schema["$defs"][entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry
        described[key] = tree.get("description", "")
        assert "default" in tree, key
    assert [key for key, text in described.items() if not text] == []
    assert described["model.parts.sigma"].startswith("Least IoU of a moved part with its reference part")
    assert schema["$defs"]["PartsConfig"]["additionalProperties"] is False
    assert "Attributes" not in json.dumps(schema)
