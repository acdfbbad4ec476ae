"""What the sections of a page share."""

from matplotlib.figure import Figure

from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import EvaluationFile, RunFiles


def test_figures_have_ids_of_their_own(page):
    made, _ = page()
    figure = Figure()
    figure.subplots()
    one, other = (made.svg(figure, "axes") for _ in range(2))
    assert "f0-" in one
    assert "f1-" in other


def test_anchors_count_the_runs():
    runs = [RunFiles("a", None), RunFiles("b", None)]
    made = ReportPage(runs, {}, {})
    assert [made.anchor(run) for run in runs] == ["run1", "run2"]
    assert made.anchor(runs[1], "parts") == "run2-parts"


def test_what_was_measured_for_the_page_goes_before_what_lies_in_the_folder(page):
    made, run = page(analysis={"images": 7}, config={"preset": "file"})

    class Measurement:
        analysis, config = {"images": 9}, {"preset": "checkpoint"}

    assert made.analysis(run) == {"images": 7}
    made.measured = {"mine": Measurement()}
    assert made.analysis(run) == {"images": 9}
    assert made.config(run) == {"preset": "file"}  # as the user wrote it
    run.config = {}
    assert made.config(run) == {"preset": "checkpoint"}


def test_where_numbers_come_from_is_said(page):
    made, run = page()
    assert "No checkpoint. Nothing to show without it." in made.measured_on(run)
    run.analysis = EvaluationFile("eval_val/analysis.json", {"images": 7})
    assert "No checkpoint. From eval_val/analysis.json: 7 images." in made.measured_on(run)
