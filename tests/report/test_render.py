"""The whole page."""

from pathlib import Path

from dprd_cli.report.render import render
from dprd_cli.report.runs import RunFiles
from dprd_cli.report.studies import StudyFiles
from pages import check

STUDY = StudyFiles("table1", {}, (), None, (), ())


def read(runs, studies=()):
    Path("page.html").write_text(render(runs, studies, {}, {run.name: "Why." for run in runs}))
    return check("page.html")


def test_a_page_of_one_run_leads_to_its_sections():
    page = read([RunFiles("mine", None, lacking=["no config.toml"])])
    assert page.text.startswith(" Run mine")
    assert "Settings unknown" in page.text
    assert "no config.toml" in page.text
    assert page.links[:3] == ["#content", "#run1-accuracy", "#run1-curves"]


def test_a_page_of_several_leads_to_ablations_the_comparison_and_each_run():
    page = read([RunFiles("a", None), RunFiles("b", None)], [STUDY])
    assert "Ablation table1" in page.text
    assert page.links[:5] == ["#content", "#study1", "#comparison", "#run1", "#run2"]


def test_many_runs_are_not_all_named_in_the_lead():
    page = read([RunFiles(f"run{number}", None) for number in range(8)])
    assert "8 runs: run0, run1, run2, run3, run4, run5, …" in page.text


def test_a_run_is_described_by_its_settings():
    tree = {"preset": "dprd", "data": {"path": "x/photos"}, "train": {"steps": 7, "batch_size": 2}}
    page = read([RunFiles("mine", None, config={**tree, "model": {"backbone": {"name": "r50"}}})])
    assert "dprd on r50, trained on photos, 7 steps of 2 images" in page.text
