"""What variants cost: measured once, kept while the network, image, classes and device are the same."""

import json
from dataclasses import replace

import pytest

from dprd_cli.benchmark.costs import InferenceSpeed, NetworkCounts
from dprd_cli.errors import DataError
from dprd_cli.studies import costs as module
from dprd_cli.studies.costs import StudyCosts, VariantCosts, classes_of, measure_costs, read_costs

COSTS = VariantCosts(46.0, 118.0, (64, 64), 6, "cpu, 1 thread", 100.0, 2.0)


@pytest.fixture
def measured(monkeypatch):
    """Count the measurements."""
    calls = []

    def measure(config, num_classes, size, device):
        calls.append((config.model.parts.sigma, num_classes, size))
        return InferenceSpeed(memory=100.0, fps=2.0)

    def count(config, num_classes, size):
        return NetworkCounts(parameters=float(num_classes), macs=1.0)

    monkeypatch.setattr(module, "measure_inference", measure)
    monkeypatch.setattr(module, "count_costs", count)
    return calls


def test_costs_are_kept_while_nothing_changes(planned, measured):
    plan = planned()
    found = measure_costs(plan, 6)
    assert measured == [(0.5, 6, (64, 64)), (1.0, 6, (64, 64))]
    assert read_costs(plan.folder) == found
    assert measure_costs(plan, 6) == found
    assert len(measured) == 2
    measure_costs(plan, 7)  # other classes: another network
    assert len(measured) == 4
    measure_costs(plan, 7, anew=True)
    assert len(measured) == 6


def test_costs_of_variants_that_are_not_asked_for_stay_in_the_file(planned, measured, sigmas):
    plan = planned()
    measure_costs(plan, 6)
    measure_costs(planned(replace(sigmas, variants=sigmas.variants[:1])), 7)
    assert {key: one.num_classes for key, one in read_costs(plan.folder).items()} == {"a": 7, "b": 6}


def test_costs_are_the_columns_of_table_2_and_survive_json(tmp_path):
    assert COSTS.columns == {"parameters": 46.0, "macs": 118.0, "memory": 100.0, "fps": 2.0}
    (tmp_path / "costs.json").write_text(json.dumps({"D4": COSTS.to_json()}))
    assert read_costs(tmp_path) == {"D4": COSTS}


@pytest.mark.parametrize("text", ["{", "[1]", '{"D4": 3}', '{"D4": {"image_size": [1, 2]}}'])
def test_a_broken_file_is_named(tmp_path, text):
    assert read_costs(tmp_path) == {}
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(DataError, match=r"costs\.json"):
        read_costs(tmp_path)


def test_a_study_of_costs_alone_has_no_other_column(sigmas, tmp_path):
    found = StudyCosts(sigmas, tmp_path, {"a": COSTS})
    assert found.summary.study.columns == ("parameters", "macs", "memory", "fps")
    assert found.to_json() == {"study": "sigmas", "costs": {"a": COSTS.to_json()}}


def test_classes_are_the_datas(planned):
    assert classes_of(planned().config) == 6
