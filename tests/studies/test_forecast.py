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


@pytest.fixture(autouse=True)
def timed(monkeypatch):
    """Let a step take as many seconds as its sigma says, and note which were timed."""
    seen = []

    def time_step(config, dataset):
        seen.append(config.model.parts.sigma)
        assert len(dataset) == 8
        return seen[-1]

    monkeypatch.setattr(module, "time_step", time_step)
    return seen


def test_steps_are_timed_before_any_run(planned, timed):
    found = forecast(planned(seeds=(0, 1)))
    assert [(one.variant, one.done, dict(one.left)) for one in found.variants] == [
        ("a", (), {0: 4, 1: 4}), ("b", (), {0: 4, 1: 4}),
    ]  # fmt: skip
    assert [one.pace for one in found.variants] == timed
    assert not any(one.measured for one in found.variants)
    assert (found.steps, found.image_size) == (16, (64, 64))
    assert found.seconds == pytest.approx(8 * sum(timed))


def test_what_cannot_be_timed_is_not_known(planned, monkeypatch):
    monkeypatch.setattr(module, "time_step", lambda config, dataset: None)
    assert forecast(planned()).seconds is None


def test_paces_of_runs_come_before_those_that_are_timed(planned, start, timed):
    plan = planned(seeds=(0, 1))
    start(plan.jobs[0], steps=3, seconds=0.5)  # a, seed 0: one step left
    one, other = forecast(plan).variants
    assert (one.pace, one.measured, dict(one.left)) == (0.5, True, {0: 1, 1: 4})
    assert ([other.pace], other.measured) == (timed, False)
    assert (one.seconds, other.seconds) == (2.5, 8 * timed[0])  # 5 x 0.5


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
