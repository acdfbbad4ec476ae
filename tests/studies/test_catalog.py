"""All studies together: each variant differs from its base in what it declares."""

import re

import pytest

from dprd_cli.studies.catalog import GROUPS, STUDIES
from dprd_cli.studies.plan import SIZES, StudySettings, differing
from dprd_cli.studies.study import COLUMNS

TRAINED = [study for study in STUDIES.values() if study.variants]


@pytest.mark.parametrize("study", TRAINED, ids=lambda study: study.name)
def test_each_variant_differs_from_its_base_in_what_it_declares(study):
    keys = [variant.key for variant in study.variants]
    assert len(set(keys)) == len(keys)
    assert all(one in keys and other in keys for one, other in study.pairs)
    assert [v.key for v in study.variants if not v.base] != []
    for size in SIZES:
        settings = StudySettings(size=size)
        for variant in study.variants:
            if not variant.base or variant.part_offsets != "learned":
                continue
            found = differing(settings.resolve(variant), settings.resolve(study.variant(variant.base)))
            assert found, f"{variant.key} is its base at size {size}"
            assert set(found) <= set(variant.changes)
            if size == "full":
                assert set(found) == set(variant.changes)


def test_names_can_be_folders_and_columns_are_known():
    for study in STUDIES.values():
        assert set(study.columns) <= set(COLUMNS)
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", variant.key) for variant in study.variants)
    assert all(name in STUDIES for names in GROUPS.values() for name in names)
