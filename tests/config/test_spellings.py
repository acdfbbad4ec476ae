import pytest

from dprd_cli.config.spellings import NEAR_OPTIONS, SAME_KEYS, SAME_OPTIONS
from dprd_cli.config.tree import flatten, known_keys, parse_overrides, validate


@pytest.mark.parametrize(("other", "key"), SAME_KEYS.items())
def test_keys_of_other_programs_are_taken_on_the_command_line(other, key):
    keys = set(known_keys())
    assert key in keys
    assert other not in keys
    assert list(flatten(parse_overrides([f"{other}=1"]))) == [key]


def test_what_is_near_names_keys_that_exist():
    values = [near for nears in NEAR_OPTIONS.values() for near in nears if near.startswith("--set ")]
    assert values
    for value in values:
        validate(parse_overrides([value.removeprefix("--set ")]))


def test_no_spelling_means_two_things():
    assert not set(SAME_OPTIONS) & set(SAME_OPTIONS.values())
    assert {name for name in NEAR_OPTIONS if name in SAME_OPTIONS} <= {"--max-det", "--max-detections"}
