"""Several runs side by side."""

from dprd_cli.report.comparison import comparison
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import EvaluationFile, RunFiles
from pages import rows


def make(**given):
    runs = [
        RunFiles(name, None, recorded=[EvaluationFile("results.json", {"images": 4, "bbox": {"AP": ap}})])
        for name, ap in (("a", 12.34), ("b", 56.78))
    ]
    for name, values in given.items():
        for run, value in zip(runs, values, strict=True):
            setattr(run, name, value)
    return comparison(ReportPage(runs, {}, {}))


def test_each_run_has_a_row_that_leads_to_its_section():
    html = make()
    assert '<a href="#run1">a</a></th><td>12.3</td>' in html
    assert '<a href="#run2">b</a></th><td>56.8</td>' in html
    assert html.count("results.json, 4 images") == 2


def test_only_settings_that_differ_are_shown():
    html = make(config=[{"train": {"steps": 1, "lr": 2}}, {"train": {"steps": 3, "lr": 2, "ema": 0.9}}])
    assert "Settings that differ (2)" in html
    assert "train.<wbr>steps</th><td>1</td><td>3</td>" in html
    assert "train.<wbr>ema</th><td>-</td><td>0.9</td>" in html
    assert "train.<wbr>lr" not in html
    assert "The runs do not differ in any setting." in make()


def test_runs_without_curves_are_named():
    assert "No run has training curves." in make()
    html = make(metrics=[rows(), []])
    assert "Without training curves: b." in html
    assert "<svg" in html
