"""Studies of what the paper leaves open: docs/reading.md lists each decision."""

import pytest

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import flatten
from dprd_cli.studies.readings import OFFSETS, READINGS
from paths import ROOT


def key_of(study):
    ((key, _),) = study.variants[0].overrides.items()
    return key


@pytest.mark.parametrize("study", READINGS, ids=lambda study: study.name)
def test_the_first_row_of_a_reading_is_the_default_unless_it_says_otherwise(study):
    value = study.variants[0].overrides[key_of(study)]
    assert (flatten(Config())[key_of(study)] == value) == (study.note == "The first row is the default.")


@pytest.mark.parametrize("study", READINGS, ids=lambda study: study.name)
def test_a_reading_varies_one_key_that_the_documentation_lists(study):
    key = key_of(study)
    assert all(list(variant.overrides) == [key] for variant in study.variants)
    assert len({variant.overrides[key] for variant in study.variants}) == len(study.variants)
    text = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    assert f"`{key}`" in text


def test_part_offsets_are_compared_on_one_trained_network():
    trained = OFFSETS.variants[0]
    assert [variant.part_offsets for variant in OFFSETS.variants] == ["learned", "mean", "reference"]
    assert all(variant.overrides == trained.overrides for variant in OFFSETS.variants)
    assert all(variant.base == trained.key for variant in OFFSETS.variants[1:])
