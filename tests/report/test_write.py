"""From what the command line names to one HTML file."""

import json
import logging
from pathlib import Path

import pytest

from dprd_cli.errors import UsageError, UserError
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.report import write as module
from dprd_cli.report.measure import ReportOptions
from dprd_cli.report.write import MEASURED_RUNS, write_report
from pages import check, make_run


@pytest.fixture
def measured(monkeypatch):
    """Measure nothing: every checkpoint is broken. Returns what was tried, and with which options."""
    calls = []

    def measure(checkpoint, options, *, keep, progress):
        calls.append((str(checkpoint), keep))
        raise UserError("broken")

    monkeypatch.setattr(module, "measure", measure)
    return calls


def test_a_page_of_one_run_lies_in_its_folder_and_one_of_several_here(measured):
    make_run("a")
    make_run("b")
    assert write_report(["a"]).path == Path("a/report.html")
    assert write_report(["a", "b"]).path == Path("report.html")
    assert write_report(["a", "b"], OutputChoice(Path("b"))).path == Path("b/report.html")
    assert write_report(["a"], OutputChoice(Path("new/page.html"))).path == Path("new/page.html")
    check("new/page.html")


def test_few_runs_are_measured_and_many_only_if_asked_for(measured, caplog):
    caplog.set_level(logging.INFO, logger="dprd_cli")
    names = [f"run{number}" for number in range(MEASURED_RUNS + 1)]
    for name in names:
        make_run(name, **{"best.pt": ""})
    write_report(names[:1])
    assert measured == [("run0/best.pt", 4)]
    assert caplog.messages == ["run0: measuring best.pt", "run0: not measured: broken"]
    page = write_report(names)
    assert len(measured) == 1
    assert page.runs[0].not_measured == "Nothing was measured for this page (see --eval)."
    page = write_report(names, options=ReportOptions(evaluate=True))
    assert [keep for _, keep in measured[1:]] == [2] * 5  # 12 images of a page are shared
    assert page.runs[0].not_measured == "Nothing was measured for this page: broken."


def test_a_run_without_a_checkpoint_is_reported_all_the_same(measured):
    make_run("run")
    (run,) = write_report(["run"]).runs
    assert measured == []
    assert run.not_measured == "Nothing was measured for this page: there is no checkpoint."
    assert run.measurement is None


def test_numbers_are_plain_json(measured):
    make_run("run")
    page = write_report(["run"], options=ReportOptions(limit=7))
    document = json.loads(json.dumps(page.to_json()))
    assert (document["report"], document["limit"], document["studies"]) == ("run/report.html", 7, [])
    assert document["bytes"] == Path("run/report.html").stat().st_size
    (run,) = document["runs"]
    assert (run["name"], run["preset"], run["commit"]) == ("run", "cascade-dprd-small", "abc")
    assert run["headline"]["bbox_AP"] == 12.5
    assert run["headline_from"] == "training's last evaluation, step 3, 4 images"
    assert run["measured"] is None


def test_a_page_that_cannot_be_written_is_named_before_anything_is_measured(measured):
    make_run("run", **{"best.pt": ""})
    Path("file").write_text("")
    with pytest.raises(UsageError, match="--out file: a file; choose a folder"):
        write_report(["run"], OutputChoice(Path("file/page.html")))
    assert measured == []


def test_a_page_that_came_while_this_one_was_measured_stays(monkeypatch):
    def measure(checkpoint, options, *, keep, progress):
        Path("run/report.html").write_text("another's")
        raise UserError("broken")

    monkeypatch.setattr(module, "measure", measure)
    make_run("run", **{"best.pt": ""})
    assert write_report(["run"]).path == Path("run/report-2.html")
    assert Path("run/report.html").read_text() == "another's"
