from matplotlib.figure import Figure

from dprd_cli.drawing.style import save_figure, show_names_as_they_are

BAD = r"$\frac$"


def test_names_with_dollars_are_drawn_as_they_are(tmp_path):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], label=BAD)
    axes.legend()
    axes.set_title(BAD)
    axes.set_yticks([1, 2], [BAD, "$cash$"])
    axes.text(1, 1, BAD)
    figure.suptitle(BAD)
    figure.legend()
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert [label.get_text() for label in axes.get_yticklabels()] == [BAD, "$cash$"]


def test_powers_of_ten_stay_powers():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1e-5, 1e-1], [1, 2])
    axes.set_xscale("log")
    show_names_as_they_are(figure)
    assert all(label.get_parse_math() for label in axes.get_xticklabels())
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())
    assert not axes.title.get_parse_math()
