"""Plots of studies."""

from pathlib import Path

import pytest

from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.figures import curve_groups, plot_study
from dprd_cli.studies.plan import on_backbones
from dprd_cli.studies.summary import StudyRun, StudySummary


@pytest.mark.parametrize("name", ["table1", "fig4"])
def test_plots_are_drawn_from_one_run_on(name, tmp_path):
    study = STUDIES[name]
    key = study.variants[0].key
    plot_study(
        StudySummary(study, [StudyRun(key, 0, Path(key), {"bbox_AP": 10.0, "segm_AP": 8.0})]),
        tmp_path / "plot.png",
    )
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_bars_stand_beside_each_other_and_numbers_above_bar_deviation_and_dots(
    two_rows, study_runs, monkeypatch
):
    drawn = []
    monkeypatch.setattr("dprd_cli.studies.figures.save_figure", lambda figure, path: drawn.append(figure))
    # a: mean 12, deviation 2.83, highest seed 14: the number stands over 12 + 2.83
    plot_study(StudySummary(two_rows, study_runs(a=[(0, 10.0), (1, 14.0)], b=[(0, 5.0)])), Path("x.png"))
    measured, papers = drawn[0].axes
    assert [bar.get_height() for bar in measured.patches] == [12.0, 5.0]
    assert [(note.get_text(), note.xy[1]) for note in measured.texts] == [
        ("12.0", pytest.approx(12 + 8**0.5)), ("5.0", 5.0),
    ]  # fmt: skip
    assert [bar.get_height() for bar in papers.patches] == [40.0, 41.25]
    assert measured.get_ylabel() == "measured, % (mean ± deviation of 1 to 2 seeds)"


def test_a_curve_for_each_backbone():
    study = on_backbones(STUDIES["fig4"], ["r50", "r101"])
    key, groups = curve_groups(study.variants)
    assert key == "model.parts.sigma"
    assert {name: len(variants) for name, variants in groups.items()} == {"R50": 7, "R101": 7}
