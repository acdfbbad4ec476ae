import math

import pytest

from dprd_cli.training.lr_finder import diverged, follow, judge, rates


def curve(*losses):
    points = []
    for rate, loss in zip(rates(1e-3, len(losses)), losses, strict=True):
        points.append(follow(points, rate, loss))
    return points


def test_rates_are_even_in_the_logarithm():
    assert rates(1e-2, 6) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert rates(1e-2, 1) == pytest.approx([1e-5])


def test_the_moving_average_has_no_bias_to_its_start():
    points = curve(4.0, 4.0, 4.0)
    assert [point.smoothed for point in points] == pytest.approx([4.0, 4.0, 4.0])
    # (0.9 * 0.1 * 4 + 0.1 * 2) / (1 - 0.81) = 0.56 / 0.19
    assert curve(4.0, 2.0)[1].smoothed == pytest.approx(0.56 / 0.19)


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_suggested():
    points = curve(*[10.0] * 20, *[10.0 - i for i in range(8)], *[3.0 * 1.6**i for i in range(12)])
    found = judge(points, "end", 8, "adamw")
    lowest = min(points, key=lambda point: point.smoothed)
    assert found.lowest == lowest.lr
    assert found.suggestion == pytest.approx(lowest.lr / 10)
    assert found.steepest < found.lowest
    assert (found.batch_size, found.optimizer, found.stopped) == (8, "adamw", "end")


@pytest.mark.parametrize("losses", [(), (1.0,), tuple(range(1, 30))])
def test_a_loss_that_never_falls_suggests_nothing(losses):
    found = judge(curve(*map(float, losses)), "end", 8, "sgd")
    assert (found.suggestion, found.lowest, found.steepest) == (None, None, None)


def test_divergence_is_four_times_the_lowest():
    assert not diverged(curve(1.0, 2.0, 3.0))
    assert diverged(curve(1.0, 1.0, 100.0))
    assert diverged(curve(1.0, math.inf))
