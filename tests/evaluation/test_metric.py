"""Metrics of plugins beside the package's own: numbers by keys of their own, and one line where they fail."""

from types import MappingProxyType, SimpleNamespace

import pytest

from dprd_cli.config import registry
from dprd_cli.errors import UserError
from dprd_cli.evaluation.metric import MetricSet
from dprd_cli.training.best import check_metric


class Mine:
    numbers = MappingProxyType({"mine": 1, "mine_half": 0.5, "mine_none": None})

    def of(self, record):
        return record.number

    def result(self, images):
        return self.numbers


@pytest.fixture
def metric(monkeypatch):
    """Enter a metric in place of all others."""

    def enter(made):
        monkeypatch.setattr(registry.metric, "built_in", ())
        monkeypatch.setattr(registry.metric, "from_plugins", {"mine": "a.Mine"})
        monkeypatch.setitem(registry.metric, "mine", made)
        return MetricSet()

    return enter


def test_a_metric_sees_each_image_and_then_all(metric):
    class Sum(Mine):
        def result(self, images):
            return {"mine": sum(images)}

    some = metric(Sum)
    images = [some.of(SimpleNamespace(number=number)) for number in (3, 4)]
    assert some.result(images) == {"mine": 7.0}


def test_its_numbers_are_numbers(metric):
    found = metric(Mine).result([])
    assert found == {"mine": 1.0, "mine_half": 0.5, "mine_none": None}
    assert all(value is None or type(value) is float for value in found.values())


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ({"other": 1}, "metric 'mine': its key 'other' has to be mine or mine_..."),
        ({"mine": "much"}, "metric 'mine': mine is 'much', expected a number or None"),
        ([1], "metric 'mine': expected numbers by key, but got [1]"),
    ],
)
def test_other_results_are_named(metric, monkeypatch, numbers, line):
    monkeypatch.setattr(Mine, "numbers", numbers)
    with pytest.raises(UserError) as caught:
        metric(Mine).result([])
    assert str(caught.value) == line


def test_one_that_fails_is_named(metric):
    class Broken(Mine):
        def of(self, record):
            return record.nothing

    with pytest.raises(UserError, match=r"^metric 'mine' of a\.Mine: AttributeError: .*; mend the plugin"):
        metric(Broken).of(SimpleNamespace(number=1))


def test_it_can_choose_the_best_checkpoint(metric):
    metric(Mine)
    check_metric("mine")
    check_metric("mine_half")
    with pytest.raises(UserError, match=r"no metric 'min'.*recall70, mine$"):
        check_metric("min")
