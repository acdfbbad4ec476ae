"""The studies: the paper's numbers, and that each variant differs from its base in what it declares."""

import re

import pytest

from dprd_cli.config.schema import Config
from dprd_cli.studies.catalog import GROUPS, STUDIES
from dprd_cli.studies.plan import SIZES, Settings, differing
from dprd_cli.studies.study import COLUMNS
from dprd_cli.studies.toml import read_study
from paths import ROOT

TRAINED = [study for study in STUDIES.values() if study.variants]
OWN_STUDIES = sorted((ROOT / "docs" / "studies").glob("*.toml"))


def paper(study, column):
    return [variant.paper.get(column) for variant in STUDIES[study].variants]


def test_table_1_is_the_papers():
    assert paper("table1", "bbox_AP") == [40.98, 42.20, 42.95, 44.33, 45.92, 44.61]
    assert paper("table1", "segm_AP") == [37.17, 38.83, 39.21, 38.46, 39.79, 38.67]


def test_table_2_is_the_papers():
    rows = {
        v.key: tuple(v.paper.get(c) for c in STUDIES["table2"].columns) for v in STUDIES["table2"].variants
    }
    assert rows == {
        "DPM": (34.5, None, 50, None, None, 5.2),
        "D1": (38.7, 35.2, 44, 116, 2110, 11.7),
        "D2": (40.8, 37.6, 46, 117, 2182, 10.0),
        "D3": (41.7, 38.2, 44, 117, 2170, 11.3),
        "D4": (42.9, 39.2, 46, 118, 2242, 9.5),
    }


def test_table_3_is_the_papers():
    assert paper("table3", "bbox_AP") == [41.00, 40.78, 42.95, 42.96, 42.82]
    assert paper("table3", "segm_AP") == [37.20, 37.58, 39.21, 39.21, 39.10]
    assert paper("table3", "fps") == [11.29, 9.02, 8.60, 8.18, 6.65]
    counts = [v.overrides.get("model.parts.count") for v in STUDIES["table3"].variants]
    assert counts == [None, 2, 4, 8, 16]


def test_fig_4_has_the_sigmas_and_the_two_points_that_table_1_prints():
    found = {v.overrides["model.parts.sigma"]: v.paper.get("bbox_AP") for v in STUDIES["fig4"].variants}
    assert found == {0.0: None, 0.1: None, 0.3: None, 0.4: None, 0.5: 45.92, 0.7: None, 1.0: 44.61}


def test_table_4s_own_rows_are_the_papers():
    rows = [tuple(row.paper.values()) for row in STUDIES["table4"].published if "D-PRD" in row.label]
    assert rows == [
        (43.6, 63.1, 48.1, 26.2, 46.1, 54.0, 38.8),
        (45.3, 64.6, 49.9, 27.2, 48.1, 56.7, 40.0),
        (46.5, 63.9, 51.1, 28.8, 48.5, 57.3, 40.1),
        (48.3, 65.7, 53.0, 29.6, 51.0, 59.8, 41.7),
        (49.2, 66.8, 53.9, 30.4, 51.7, 60.9, 42.4),
        (51.1, 69.2, 56.0, 33.3, 53.2, 63.5, 44.7),
    ]
    assert len(STUDIES["table4"].published) == 16
    query_inst = next(row for row in STUDIES["table4"].published if row.label == "QueryInst")
    assert query_inst.paper == {"bbox_AP": 47.0, "segm_AP": 41.7}


def test_table_5s_rows_are_the_papers():
    rows = [tuple(row.paper.values()) for row in STUDIES["table5"].published]
    assert rows == [
        (51.8, 78.5, 57.1), (54.2, 79.6, 59.2), (53.4,), (56.8,), (54.4, 78.6, 61.0),
        (56.2, 80.0, 63.0), (60.3, 80.6, 66.3), (61.1, 80.8, 67.2), (60.8, 80.8, 67.2),
    ]  # fmt: skip


@pytest.mark.parametrize("study", TRAINED, ids=lambda study: study.name)
def test_each_variant_differs_from_its_base_in_what_it_declares(study):
    keys = [variant.key for variant in study.variants]
    assert len(set(keys)) == len(keys)
    assert all(one in keys and other in keys for one, other in study.pairs)
    assert [v.key for v in study.variants if not v.base] != []
    for size in SIZES:
        settings = Settings(size=size)
        for variant in study.variants:
            if not variant.base or variant.part_offsets != "learned":
                continue
            found = differing(settings.resolve(variant), settings.resolve(study.variant(variant.base)))
            assert found, f"{variant.key} is its base at size {size}"
            assert set(found) <= set(variant.changes)
            if size == "full":
                assert set(found) == set(variant.changes)


def test_the_first_row_of_a_reading_is_the_default_unless_it_says_otherwise():
    for name in GROUPS["readings"]:
        study = STUDIES[name]
        ((key, value),) = study.variants[0].overrides.items()
        node = Config()
        for part in key.split("."):
            node = getattr(node, part)
        assert (node == value) == (study.note == "The first row is the default."), name


def test_names_can_be_folders_and_columns_are_known():
    for study in STUDIES.values():
        assert set(study.columns) <= set(COLUMNS)
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", variant.key) for variant in study.variants)
    assert all(name in STUDIES for names in GROUPS.values() for name in names)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "docs" / "studies").glob("*.toml")),
    ids=lambda path: path.stem,
)
def test_the_studies_of_the_evidence_can_be_run(path):
    study = read_study(path)
    assert all(Settings().resolve(variant, seed=0).train.seed == 0 for variant in study.variants)
