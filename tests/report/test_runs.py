"""What the files of a run say, and lines about those that say nothing."""

import json
import os

import pytest

from dprd_cli.report.runs import EvaluationFile, is_run, read_object, read_run
from pages import make_run, rows

RESULTS = json.dumps({"bbox": {"AP": 10.0}, "images": 4})


def test_a_whole_run_lacks_nothing_but_what_was_not_done():
    run = read_run(make_run("run", **{"results.json": RESULTS, "best.pt": ""}))
    assert (run.name, run.checkpoint.name, run.config["train"]["steps"]) == ("run", "best.pt", 4)
    assert run.metrics == rows()
    assert run.evaluations == rows()[-1:]
    assert run.environment["commit"] == "abc"
    assert [one.file for one in run.recorded] == ["results.json"]
    assert run.lacking == []
    assert run.written


def test_an_empty_folder_lacks_everything(tmp_path):
    run = read_run(tmp_path)
    assert len(run.lacking) == 5
    assert (run.checkpoint, run.config, run.metrics, run.environment, run.recorded) == (None, {}, [], {}, [])
    assert run.written == ""
    assert not is_run(tmp_path)


def test_a_checkpoint_in_a_run_belongs_to_it():
    run = make_run("run", **{"last.pt": "", "previous.pt": ""})
    found = read_run(run / "previous.pt")
    assert (found.folder, found.checkpoint.name, found.metrics) == (run, "previous.pt", rows())
    assert read_run(run).checkpoint.name == "last.pt"


def test_a_checkpoint_on_its_own_has_nothing_else(tmp_path):
    (tmp_path / "weights.pt").write_text("")
    run = read_run(tmp_path / "weights.pt")
    assert (run.name, run.folder, run.checkpoint) == ("weights", None, tmp_path / "weights.pt")
    assert run.lacking[0].startswith("a checkpoint on its own")


@pytest.mark.parametrize(
    ("content", "usual"),
    [
        ({}, True),
        ({"part_offsets": "learned", "split": "val", "tta": False}, True),
        ({"part_offsets": "mean"}, False),
        ({"split": "train"}, False),
        ({"tta": True}, False),
    ],
)
def test_usual_evaluations_are_of_the_detector_as_trained_on_held_out_images(content, usual):
    assert EvaluationFile("x.json", content).usual is usual


def test_the_newest_analysis_and_its_images_are_taken():
    folder = make_run("run")
    for name, content in (("old", {"a": 1}), ("new", {"a": 2})):
        (folder / name).mkdir()
        (folder / name / "analysis.json").write_text(json.dumps(content))
    (folder / "new" / "best.jpg").write_text("")
    os.utime(folder / "old" / "analysis.json", (1, 1))
    run = read_run(folder)
    assert (run.analysis.file, run.analysis.content) == ("new/analysis.json", {"a": 2})
    assert list(run.drawn) == ["best"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("{", "x.json: not readable"), ("[1]", "x.json: not a JSON object"), (None, "no x.json: why")],
)
def test_a_broken_file_becomes_a_line(tmp_path, text, line):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    lacking = []
    assert read_object(path, lacking, "why") == {}
    assert lacking[0].startswith(line)
