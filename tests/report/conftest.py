"""For the tests of reports: a folder of their own, an analysis, and pages of runs that are not there."""

import pytest

from coco_scenes import evaluator, scene
from dprd_cli.evaluation.analysis import analyse
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import EvaluationFile, RunFiles


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def analysis():
    """An `Analysis` of a dog, a cat and their boxes, as JSON."""
    return {**analyse(evaluator(*scene())).to_json(), "parts": None}


@pytest.fixture
def page():
    """Make a page of a run of which nothing was measured, and the run."""

    def make(analysis=None, **files):
        run = RunFiles("mine", None, **files)
        if analysis is not None:
            run.analysis = EvaluationFile("eval_val/analysis.json", analysis)
        return ReportPage([run], {}, {"mine": "No checkpoint."}), run

    return make
