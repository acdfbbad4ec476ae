import pytest

from dprd_cli.config.aliases import RENAMED, rename_keys
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import flatten, known_keys, parse_overrides, validate


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_names_are_taken_and_new_ones_written(old, new):
    value = not flatten(Config())[new]
    section, name = old.split(".")
    config = validate({section: {name: value}})
    assert flatten(config)[new] is value
    assert flatten(validate(parse_overrides([f"{old}={str(value).lower()}"])))[new] is value
    assert old not in set(known_keys())


def test_the_new_name_wins_and_nothing_else_changes():
    tree = {"data": {"check_images": True, "check_pictures": False, "path": "a"}, "preset": "dprd"}
    assert rename_keys(tree) == {"data": {"check_images": True, "path": "a"}, "preset": "dprd"}
    assert rename_keys({"check_pictures": 1}) == {"check_pictures": 1}  # elsewhere it is no key
