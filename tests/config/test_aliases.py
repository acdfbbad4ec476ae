import pytest

from dprd_cli.config.aliases import OLD_VALUES, RENAMED, fill_old_values, rename_keys
from dprd_cli.config.presets import resolve
from dprd_cli.config.provenance import explain
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import flatten, known_keys, parse_overrides, to_toml, validate
from dprd_cli.errors import UsageError
from dprd_cli.weights.load import load_model
from dprd_cli.weights.named_config import named_base


@pytest.mark.parametrize(
    ("old", "value", "new", "now"),
    [
        ("data.check_pictures", False, "data.check_images", False),
        ("train.amp", "auto", "train.precision", "auto"),
        ("train.amp", "on", "train.precision", "auto"),  # it was bfloat16 on CUDA and float32 elsewhere
        ("train.amp", "off", "train.precision", "fp32"),
    ],
)
def test_old_names_are_taken_and_new_ones_written(old, value, new, now):
    assert RENAMED[old] == new
    section, name = old.split(".")
    assert flatten(validate({section: {name: value}}))[new] == now
    assert flatten(validate(parse_overrides([f"{old}={str(value).lower()}"])))[new] == now
    assert old not in set(known_keys())


def test_an_unknown_value_of_an_old_name_is_told_by_the_new_one():
    with pytest.raises(UsageError, match=r"train\.precision = 'of'"):
        validate({"train": {"amp": "of"}})


def test_the_new_name_wins_and_nothing_else_changes():
    tree = {"data": {"check_images": True, "check_pictures": False, "path": "a"}, "preset": "dprd"}
    assert rename_keys(tree) == {"data": {"check_images": True, "path": "a"}, "preset": "dprd"}
    assert rename_keys({"check_pictures": 1}) == {"check_pictures": 1}  # elsewhere it is no key


def stored(config: Config, without: str) -> dict:
    """Return a configuration as a version wrote it that did not have a key."""
    tree = config.model_dump(mode="json")
    *sections, name = without.split(".")
    holder = tree
    for section in sections:
        holder = holder[section]
    del holder[name]
    return tree


#: What the values of old are in the default configuration.
OLD = {key: 1e-4 if callable(value) else value for key, value in OLD_VALUES.items()}


@pytest.mark.parametrize("key", OLD)
def test_a_stored_configuration_means_what_it_meant(key, tmp_path):
    tree = stored(Config(), key)
    before = flatten(Config())[key]
    assert flatten(validate(tree))[key] == OLD[key] != before
    (tmp_path / "config.toml").write_text(to_toml(Config()))
    lines = (tmp_path / "config.toml").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(f"{key.rpartition('.')[2]} =")]
    (tmp_path / "config.toml").write_text("\n".join(lines))
    assert flatten(resolve(config_file=tmp_path / "config.toml"))[key] == OLD[key]
    assert flatten(explain(named_base(str(tmp_path))).config)[key] == OLD[key]


@pytest.mark.parametrize("key", OLD_VALUES)
def test_a_configuration_written_by_hand_has_the_defaults_of_now(key):
    assert flatten(validate({"train": {"steps": 7}, "preset": "dprd"}))[key] == flatten(Config())[key]


def test_the_shipped_checkpoint_keeps_its_values():
    config = explain(named_base("demo")).config
    assert {key: flatten(config)[key] for key in OLD_VALUES} == OLD | {"train.weight_decay_norm": 0.0}
    assert load_model("demo", "cpu").config.model == config.model


@pytest.mark.parametrize("broken", [{"model": 3}, {"model": {"parts": []}}, {"preset": {}, "train": None}])
def test_what_is_no_configuration_is_left_to_the_check(broken):
    assert fill_old_values(broken) == broken


@pytest.mark.parametrize(("optimizer", "decay"), [("sgd", 0.3), ("adamw", 0.0)])
def test_normalisation_once_decayed_as_the_rest(optimizer, decay):
    train = {"optimizer": optimizer, "weight_decay": 0.3}
    tree = stored(validate({"train": train}), "train.weight_decay_norm")
    assert validate(tree).train.weight_decay_norm == decay
