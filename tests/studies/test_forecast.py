"""What is left of a study, by hand."""

import json
from dataclasses import replace

import pytest

from dprd_cli.benchmark.costs import NetworkCounts
from dprd_cli.studies import forecast as module
from dprd_cli.studies.forecast import forecast


@pytest.fixture(autouse=True)
def _macs(monkeypatch):
    """Networks cost 2 G MACs at sigma 0.5, and 6 at others."""

    def count(config, num_classes, size):
        assert (num_classes, size) == (6, (64, 64))
        return NetworkCounts(parameters=1.5, macs=2.0 if config.model.parts.sigma == 0.5 else 6.0)

    monkeypatch.setattr(module, "count_costs", count)


def test_nothing_is_known_of_the_time_before_any_run(planned):
    found = forecast(planned(seeds=(0, 1)))
    assert [(one.variant, one.done, dict(one.left)) for one in found.variants] == [
        ("a", (), {0: 4, 1: 4}), ("b", (), {0: 4, 1: 4}),
    ]  # fmt: skip
    assert [one.pace for one in found.variants] == [None, None]
    assert (found.steps, found.seconds, found.image_size) == (16, None, (64, 64))


def test_paces_are_measured_or_scaled_by_macs(planned, start):
    plan = planned(seeds=(0, 1))
    start(plan.jobs[0], steps=3, seconds=0.5)  # a, seed 0: one step left
    one, other = forecast(plan).variants
    assert (one.pace, one.measured, dict(one.left)) == (0.5, True, {0: 1, 1: 4})
    assert (other.pace, other.measured) == (1.5, False)  # 0.5 x 6 / 2
    assert (one.seconds, other.seconds) == (2.5, 12.0)  # 5 x 0.5; 8 x 1.5
    assert forecast(plan).seconds == 14.5


def test_a_finished_run_has_nothing_left_and_a_trained_one_its_evaluation(planned, start):
    plan = planned(seeds=(0, 1))
    start(plan.jobs[0], steps=4, box_ap=10.0)
    start(plan.jobs[2], steps=4)
    one, _ = forecast(plan).variants
    assert (one.done, dict(one.left)) == ((0,), {1: 1})
    document = json.loads(json.dumps(forecast(plan).to_json()))
    assert document["rows"][0]["left"] == {"1": 1}
    assert document["rows"][0]["seconds"] == one.seconds
    assert document["study"] == "sigmas"


def test_measurements_of_a_training_are_not_trained(planned, sigmas):
    measured = replace(sigmas.variants[1], part_offsets="mean")
    found = forecast(planned(replace(sigmas, variants=(sigmas.variants[0], measured))))
    assert [one.variant for one in found.variants] == ["a"]
