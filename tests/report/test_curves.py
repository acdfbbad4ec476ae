"""Training curves: which panels a run has, and what is drawn of them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dprd_cli.report.curves import Line, Panel, compared_panels, draw, legend_columns, run_colour, run_panels
from pages import rows


def line(values, **given):
    return Line((np.arange(1.0, len(values) + 1), np.array(values)), "a", "#000000", **given)


def test_panels_without_points_and_lines_without_points_are_left_out():
    panels = {panel.title: [line.label for line in panel.lines] for panel in run_panels(rows())}
    assert panels["Loss"] == ["total"]
    assert panels["AP"] == ["box AP", "box AP50"]
    assert panels["Part IoU"] == ["in training"]
    assert "Gradient norms" not in panels
    assert run_panels([]) == []


def test_a_panel_says_in_words_where_its_lines_start_and_end():
    (loss,) = [panel for panel in run_panels(rows()) if panel.title == "Loss"]
    assert loss.alt() == "Loss during training: total 5 at step 1, 1.67 at step 3"


def test_several_runs_have_a_line_each_in_colours_that_come_back():
    runs = [(f"run {number}", rows()) for number in range(8)]
    (loss,) = [panel for panel in compared_panels(runs) if panel.title == "Loss"]
    assert [line.label for line in loss.lines] == [name for name, _ in runs]
    assert len({(line.colour, line.style) for line in loss.lines}) == 8
    assert run_colour(0) == run_colour(6)


def test_long_lines_are_thinned_and_keep_their_last_point():
    figure = draw(Panel("Loss", "loss", (line(list(range(1000))),)))
    (drawn,) = figure.axes[0].get_lines()
    x = drawn.get_xdata()
    assert len(x) <= 300
    assert x[-1] == 1000


def test_noisy_lines_are_smoothed_over_a_faint_original():
    faint, smooth = draw(Panel("Loss", "loss", (line([1.0, 9.0] * 100, noisy=True),))).axes[0].get_lines()
    assert faint.get_alpha() < 1
    assert np.std(smooth.get_ydata()) < np.std(faint.get_ydata()) / 2


@pytest.mark.parametrize(
    ("values", "given", "scale", "bottom"),
    [
        ([1.0, 10.0], {"logarithmic": True}, "log", None),
        ([0.0, 0.0], {"logarithmic": True}, "linear", -0.03),  # a line of zeros is to be seen
        ([0.1, 0.2], {"top": 1.0}, "linear", 0),
        ([1.0, 2.0], {}, "linear", 0),
    ],
)
def test_axes_fit_the_values(values, given, scale, bottom):
    (axes,) = draw(Panel("T", "axis", (line(values),), **given)).axes
    assert axes.get_yscale() == scale
    if bottom is not None:
        assert axes.get_ylim()[0] == pytest.approx(bottom)


@pytest.mark.parametrize(("length", "columns"), [(4, 3), (20, 2), (40, 1), (400, 1)])
def test_a_legend_stays_inside_the_figure(length, columns):
    names = [letter * length for letter in "ab"]
    assert legend_columns(names) == columns
    lines = tuple(Line((np.arange(3.0), np.arange(3.0)), name, "#000000") for name in names)
    figure = draw(Panel("Loss", "loss", lines))
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1 + 1


def test_one_point_is_to_be_seen():
    figure = draw(Panel("Loss", "loss", (line([2.0]),)))
    assert [one.get_marker() for one in figure.axes[0].get_lines()] == ["o"]
