import pytest
from matplotlib.figure import Figure

from dprd_cli.drawing.axes import grow_by_factors, over_steps, plain_numbers, readable_ticks, tidy


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 11.0, [1, 2, 5, 10]),
        (3.2, 9.0, [4, 5, 7]),  # less than a decade
        (0.09, 110.0, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]),
        (0.9e-4, 11.0, [1e-4, 1e-3, 1e-2, 0.1, 1, 10]),
        (0.9e-12, 11.0, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 0.01, 1]),  # every other decade
    ],
)
def test_ticks_are_round_and_few(low, high, ticks):
    assert readable_ticks(low, high) == pytest.approx(ticks)


def drawn(values):
    axes = Figure().subplots()
    axes.plot(range(len(values)), values)
    grow_by_factors(axes)
    return axes


def test_a_logarithm_only_where_it_shows_something():
    assert drawn([1.0, 2.0, 3.9]).get_yscale() == "linear"
    assert drawn([0.0, -1.0]).get_yscale() == "linear"
    assert drawn([]).get_yscale() == "linear"
    axes = drawn([10.0, 1.0, 0.0, float("nan"), 0.1])
    assert axes.get_yscale() == "log"
    assert [axes.yaxis.get_major_formatter()(tick, 0) for tick in (0.1, 1, 20)] == ["0.1", "1", "20"]


def test_steps_start_at_nothing_and_numbers_are_written_out():
    axes = Figure().subplots()
    axes.plot([10, 40], [1e-4, 5e-4])
    over_steps(axes, 90)
    plain_numbers(axes)
    tidy(axes)
    assert axes.get_xlim() == pytest.approx((0, 91.8))
    assert [axes.xaxis.get_major_formatter()(tick, 0) for tick in (50, 1_500_000)] == ["50", "1,500,000"]
    assert axes.yaxis.get_major_formatter()(5e-4, 0) == "0.0005"
