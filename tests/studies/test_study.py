"""A study and its rows."""

import pytest

from dprd_cli.studies.study import COLUMNS, COSTS, Study, Variant


def test_costs_are_columns():
    assert set(COSTS) <= set(COLUMNS)


def test_rows_are_found_by_key():
    one, other = Variant("one", "One", "dprd"), Variant("other", "Other", "dprd", base="one")
    study = Study("mine", "Mine", "", (one, other))
    assert study.variant("other") is other
    with pytest.raises(StopIteration):
        study.variant("absent")
