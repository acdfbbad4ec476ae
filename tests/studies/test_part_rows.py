"""The figure of a study of parts."""

from pathlib import Path

from dprd_cli.studies.part_rows import part_rows
from dprd_cli.studies.readings import SIGNPOSTS
from dprd_cli.studies.summary import StudyRun, StudySummary


def test_what_is_only_measured_otherwise_has_no_row():
    runs = [
        StudyRun(key, 0, Path("absent"), {"bbox_AP": 40.0}) for key in ("placed", "put_back", "loss_alone")
    ]
    titles = [axes.get_title(loc="left") for axes in part_rows(StudySummary(SIGNPOSTS[0], runs)).axes[::2]]
    assert titles == ["placed parts (1 seed), %", "parts that stay, with the place loss (1 seed), %"]


def test_shares_are_shown_in_percent_and_rows_without_a_run_are_left_out():
    metrics = [{"bbox_AP": 40.0, "located_accuracy": 0.5}, {"bbox_AP": 50.0, "located_accuracy": 0.7}]
    runs = [StudyRun("placed", seed, Path("absent"), one) for seed, one in enumerate(metrics)]
    figure = part_rows(StudySummary(SIGNPOSTS[0], runs))
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes[::2]]
    assert texts == [["45.0 ± 7.1", "60.0 ± 14.1"]]
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == ["placed parts (2 seeds), %"]
