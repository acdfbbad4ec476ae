"""Configurations as nested dicts, dotted keys and TOML: every way leads back."""

import pytest

from dprd_cli.config.presets import PRESETS, SCHEDULES, resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import (
    differences,
    flatten,
    known_keys,
    merge,
    nest,
    parse_overrides,
    read_toml,
    settle,
    to_toml,
    validate,
)
from dprd_cli.errors import UsageError


def test_differences():
    first, second = (
        resolve(preset="dprd"),
        resolve(preset="dprd", overrides=["train.lr=1", "model.parts.count=8"]),
    )
    assert differences(first, first) == {}
    assert differences(first, second) == {"model.parts.count": (4, 8), "train.lr": (0.001, 1.0)}


def test_a_key_that_the_second_does_not_have_differs():
    first, second = {"a": {"b": 1, "c": None}, "d": 2}, {"a": {"b": 1}, "e": 3}
    assert differences(first, second) == {"a.c": (None, None), "d": (2, None)}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_flat_configuration_nested_again_is_the_configuration(preset):
    config = resolve(preset=preset, schedule="photos")
    flat = flatten(config)
    assert list(flat) == list(known_keys())
    tree = {}
    for key, value in flat.items():
        merge(tree, nest(key, value))
    assert validate(tree) == config
    assert flatten(config.model_dump(mode="json")) == flat


def test_trees_of_any_keys_are_flattened():
    assert flatten({"a": {"b": {"c": [1, {"d": 2}]}}, "e": {}}) == {"a.b.c": [1, {"d": 2}]}
    assert flatten({}) == {}


def test_nest_by_hand():
    assert nest("a", 1) == {"a": 1}
    assert nest("a.b.c", [1]) == {"a": {"b": {"c": [1]}}}


def test_of_two_trees_the_second_wins_and_stays_as_it_is():
    base, extra = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": {"e": 4}}, "d": {"f": 5}}
    merged = merge(base, extra)
    assert merged is base
    assert merged == {"a": {"b": 1, "c": {"e": 4}}, "d": {"f": 5}}
    merged["d"]["f"] = merged["a"]["c"]["e"] = 0
    assert extra == {"a": {"c": {"e": 4}}, "d": {"f": 5}}


def test_overrides_are_toml_and_bare_words_are_strings():
    pairs = ["train.lr = 1e-3", "data.path=photos/new", "model.cascade.ious=[0.5, 0.6]", "data.limit=3"]
    assert parse_overrides([*pairs, "data.limit=4", 'train.device="cpu"', "data.crop= x = y "]) == {
        "train": {"lr": 1e-3, "device": "cpu"},
        "data": {"path": "photos/new", "limit": 4, "crop": "x = y"},
        "model": {"cascade": {"ious": [0.5, 0.6]}},
    }


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ("train.lr", "--set train.lr: expected KEY=VALUE, such as --set model.parts.sigma=0.4"),
        ("train.lrr=1", "--set train.lrr=1: no config key 'train.lrr' (did you mean 'train.lr'?)"),
        ("model=1", "--set model=1: no config key 'model'"),
    ],
)
def test_overrides_that_are_none(pair, line):
    with pytest.raises(UsageError) as caught:
        parse_overrides([pair])
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"train": {"lrr": 1}}, "x.toml: no config key 'train.lrr' (did you mean 'train.lr'?)"),
        ({"train": {"lr": "fast"}}, "x.toml: train.lr = 'fast': Input should be a valid number"),
        (
            {"train": {"decay": "cosin"}},
            "x.toml: train.decay = 'cosin': Input should be 'multistep' or 'cosine'",
        ),
        ({"train": {"steps": 0}}, "x.toml: train.steps = 0: Input should be greater than 0"),
        ({"data": 3}, "x.toml: data = 3: "),
    ],
)
def test_a_wrong_key_or_value_is_named(tree, line):
    with pytest.raises(UsageError) as caught:
        validate(tree, "x.toml")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_near_word_is_suggested():
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        validate({"train": {"decay": "cosin"}})


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.toml: cannot read the config file \(No such file"):
        read_toml(tmp_path / "gone.toml")
    for content in (b"[train", b"\xff", b"\xff\xfea", b"a = 1\na = 2\n", b"a = " + b"[" * 100_000):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(UsageError, match=r"bad\.toml: not a TOML config file"):
            read_toml(tmp_path / "bad.toml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_toml_that_windows_has_written(tmp_path, encoding):
    (tmp_path / "a.toml").write_bytes('preset = "dprd"\r\n[train]\r\nsteps = 3\r\n'.encode(encoding))
    assert read_toml(tmp_path / "a.toml") == {"preset": "dprd", "train": {"steps": 3}}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_toml_gives_the_configuration_back(tmp_path, preset, schedule):
    config = resolve(preset=preset, schedule=schedule, overrides=['data.path="a \\"b\\" é"', "train.seed=7"])
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert validate(read_toml(tmp_path / "config.toml")) == config


@pytest.mark.parametrize(
    ("overrides", "weights", "norm", "frozen"),
    [
        ([], "none", "bn", 0),  # the built-in data: from scratch
        (["data.path=x"], "imagenet", "frozen_bn", 2),
        (["data.path=x", "model.backbone.weights=none"], "none", "bn", 0),
        (["data.path=x", "train.weights=demo"], "none", "frozen_bn", 2),  # a whole detector is started from
        (["data.path=x", "model.backbone.norm=gn", "model.backbone.frozen_stages=1"], "imagenet", "gn", 1),
    ],
)
def test_what_is_left_open_is_settled(overrides, weights, norm, frozen):
    config = settle(validate(parse_overrides(overrides)))
    backbone = config.model.backbone
    assert (backbone.weights, backbone.norm, backbone.frozen_stages) == (weights, norm, frozen)
    assert settle(config) == config
    assert "auto" not in (backbone.weights, backbone.norm, backbone.frozen_stages, config.train.layer_decay)
    train = config.train.model_copy(update={"layer_decay": "auto"})
    left = config.model_copy(update={"model": Config().model, "train": train})
    assert left == validate(parse_overrides([one for one in overrides if not one.startswith("model.")]))
