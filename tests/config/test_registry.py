"""Names of what can be replaced: the package's own and those of plugins."""

import importlib

import pytest

from dprd_cli.config.registry import REGISTRIES, Registry
from dprd_cli.config.tree import validate
from dprd_cli.errors import UsageError


def make(options):
    return options


@pytest.fixture
def registry():
    one = Registry("neck", ("fpn", "panet"), family="timm:")
    one.update({"fpn": make, "timm:": make})
    return one


def test_a_name_is_what_was_entered_under_it(registry):
    assert registry("mine")(make) is make
    assert registry["mine"] is make
    assert registry.names == ("fpn", "panet", "mine")
    assert [registry.check(name) for name in ("mine", "panet", "timm:a")] == ["mine", "panet", "timm:a"]
    assert registry["timm:a"] is make
    with pytest.raises(KeyError):
        registry["timm"]


def test_the_same_may_be_entered_again_and_no_other(registry):
    registry("mine")(make)
    registry("mine")(make)

    def another(options):
        return options

    with pytest.raises(UsageError, match=r"^neck 'mine' is there already, from .*test_registry\.make$"):
        registry("mine")(another)
    for name in ("fpn", "timm:x"):
        with pytest.raises(UsageError, match=f"^neck '{name}' is built in; choose another name$"):
            registry(name)
    for name in ("", "a\nb", "a b", " a", 3, "x" * 100):
        with pytest.raises(UsageError, match="expected a name of one word"):
            registry(name)


def test_what_was_entered_can_be_taken_back(registry):
    before = dict(registry), dict(registry.from_plugins)
    registry("mine")(make)
    registry.reset(*before)
    assert (dict(registry), registry.from_plugins) == before
    assert "mine" not in registry.names


@pytest.mark.parametrize(
    ("key", "start", "end"),
    [
        ("model.neck.name", "there is no such neck (did you mean 'fpn'?); ", "fpn, panet, bifpn"),
        ("model.fusion.name", "there is no such fusion; ", "rda, concat, tree"),
        (
            "model.parts.mode",
            "there is no such part source; ",
            "fixed, deformable, placed, oracle, pooling",
        ),
        ("train.loggers", "there is no such logger; ", "tensorboard, wandb"),
        ("data.augmentations", "there is no such augmentation; ", "geometry, copy_paste, color"),
    ],
)
def test_a_wrong_name_is_told_what_there_is(key, start, end):
    tree = "fpnz"
    for part in reversed(key.split(".")):
        tree = {part: tree}
    with pytest.raises(UsageError) as caught:
        validate(tree)
    text = str(caught.value)
    assert text.startswith(f"config: {key}")
    assert f" = 'fpnz': {start}built in: " in text
    assert f"{end} (docs/extend.md: --plugin)" in text


def test_names_of_plugins_are_listed_too(monkeypatch):
    neck = REGISTRIES["neck"]
    monkeypatch.setattr(neck, "from_plugins", {"mine": "somewhere"})
    with pytest.raises(UsageError, match=r"built in: fpn, panet, bifpn; from plugins: mine \(docs"):
        validate({"model": {"neck": {"name": "x"}}})
    assert validate({"model": {"neck": {"name": "mine"}}}).model.neck.name == "mine"


def test_every_name_of_the_package_s_own_is_filled_in():
    importlib.import_module("dprd_cli.training.loop")  # with all that a training uses
    without_parts = {"none", "pooling"}  # modes without part features
    for kind, registry in REGISTRIES.items():
        assert set(registry.built_in) - without_parts <= set(registry), kind
