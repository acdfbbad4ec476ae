"""What a run tells: rows for programs, lines for people, and means that a resumed run goes on with."""

import csv
import json
import sys

import pytest
import torch

from dprd_cli.errors import ResourceError
from dprd_cli.training.metrics_log import Means, RunLog, SilentLog, read_metrics


def test_a_torn_last_line_of_the_metrics_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 1}\n{"kind": "train", "st')
    assert read_metrics(path) == [{"kind": "train", "step": 1}]


def train_row(step, **more):
    numbers = {"loss": 2.0, "lr": 1e-3, "seconds_per_step": 30.0, "data_wait": 0.25}
    return {"kind": "train", "step": step, **numbers, **more}


def eval_row(step, **more):
    return {"kind": "eval", "step": step, "images": 4, "bbox_AP": 12.34, "bbox_AP50": None, **more}


@pytest.fixture
def lines(caplog):
    """Return what was told so far."""
    caplog.set_level("INFO", logger="dprd_cli")
    return lambda: [record.getMessage() for record in caplog.records]


class Tracker:
    def __init__(self):
        self.rows, self.closed = [], False

    def add(self, row):
        self.rows.append(row)

    def close(self):
        self.closed = True


def test_rows_go_to_both_files_and_the_trackers_as_they_come(tmp_path):
    tracker = Tracker()
    with RunLog(tmp_path, 4) as log:
        log.start([tracker])
        log.add(train_row(1))
        log.add(eval_row(1, recall50=float("nan")))
        rows = [train_row(1), eval_row(1, recall50=None)]  # JSON has no NaN
        assert read_metrics(tmp_path / "metrics.jsonl") == log.rows == tracker.rows == rows
        assert log.evaluations() == rows[1:]
        table = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["kind"] for row in table] == ["train", "eval"]
    assert list(table[0]) == [
        *rows[0],
        "images",
        "bbox_AP",
        "bbox_AP50",
        "recall50",
    ]  # the union, as they came
    assert (table[0]["loss"], table[0]["bbox_AP"], table[1]["bbox_AP"]) == ("2.0", "", "12.34")
    assert tracker.closed


def test_rows_after_the_step_that_a_run_resumes_from_are_dropped(tmp_path):
    with RunLog(tmp_path, 4) as log:
        log.start()
        for step in (1, 2, 3):
            log.add(train_row(step))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = RunLog(tmp_path, 4, start_step=2)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before  # nothing is touched before it starts
    with again:
        again.start()
        again.add(train_row(3, loss=1.0))
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path / "metrics.jsonl")] == [
        (1, 2.0), (2, 2.0), (3, 1.0),
    ]  # fmt: skip
    table = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in table] == ["1", "2", "3"]


def test_the_lines_by_hand(tmp_path, lines):
    with RunLog(tmp_path, 4) as log:
        log.start()
        log.add(train_row(1, grad_norm=3.0))
        log.add(eval_row(4, segm_AP=1.0, recall50=0.5))
    assert lines() == [
        # three steps of 30 s
        "step 1/4  loss 2.000  lr 1.00e-03  grad_norm 3.00  30.00 s/step  0.25 s wait  2 min left",
        "step 4/4  evaluation of 4 images: box AP 12.3  AP50 -  mask AP 1.0  recall50 0.500",
    ]


def test_the_first_steps_are_shown_before_there_is_a_row(tmp_path, lines):
    with RunLog(tmp_path, 4) as log:
        log.start()
        log.show(train_row(1))
    assert lines() == ["step 1/4  loss 2.000  lr 1.00e-03  30.00 s/step  0.25 s wait  2 min left"]
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_terminal_shows_the_run_and_below_it_the_evaluation(tmp_path, lines, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name, value in (("TERM", "xterm"), ("FORCE_COLOR", "1"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    told = []
    with RunLog(tmp_path, 4, on_step=lambda *one: told.append(one)) as log:
        log.start()
        log.show(train_row(1))
        log.progress("train", 1, 4)
        log.progress("evaluate", 3, 8)
        log.progress("evaluate", 8, 8)
        log.add(train_row(2))
    err = capsys.readouterr().err
    assert "1 of 4 steps" in err
    assert "loss 2.000" in err
    assert "evaluate" in err
    assert told == [(1, 4)]
    assert lines() == []  # a line for every row would push the evaluations out of sight


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    with RunLog(tmp_path, 4) as log:
        log.start()

        def full(row):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(log, "_append", full)
        with pytest.raises(ResourceError, match=r"cannot write the metrics .No space left on device"):
            log.add(train_row(1))


def test_other_ranks_are_silent(tmp_path, lines, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SilentLog() as log:
        log.start()
        log.add(train_row(1))
        log.show(train_row(1))
        log.say("a line")
        log.progress("train", 1, 2)
    assert (log.rows, log.evaluations(), lines(), list(tmp_path.iterdir())) == ([], [], [], [])


def test_means_are_of_what_came_since_they_were_taken():
    means = Means()
    means.add({"a": torch.tensor(1.0), "b": 3.0})
    means.add({"a": 2.0})
    assert means.take() == {"a": 1.5, "b": 3.0}
    assert means.take() == {}


def test_means_go_on_from_their_state():
    straight, first, second = Means(), Means(), Means()
    values = [{"a": 0.1}, {"a": 0.2, "b": 0.3}, {"a": 0.7}]
    for number, value in enumerate(values):
        straight.add(value)
        (first if number < 2 else second).add(value)
        if number == 1:
            second.restore(json.loads(json.dumps(first.state())))
    assert second.take() == straight.take()
