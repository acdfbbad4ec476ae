import csv
import json

import pytest
import torch

from dprd_cli.training.metrics_log import Means, RunLog, SilentLog, read_metrics

ROW = {"kind": "train", "step": 1, "loss": 2.0, "lr": 0.1, "seconds_per_step": 1.0, "data_wait": 0.0}


def test_rows_are_in_both_files_and_columns_grow(tmp_path):
    log = RunLog(tmp_path, 10)
    with log:
        log.start()
        log.add(ROW)
        log.add({**ROW, "step": 2, "part_iou": 0.5, "loss": float("nan")})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[1]["loss"] is None  # JSON knows no nan
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["part_iou"] for row in table] == ["", "0.5"]


def test_nothing_is_written_before_the_start(tmp_path):
    """A run that is resumed at step 1 drops later rows, but only once it starts."""
    lines = [json.dumps({**ROW, "step": step}) + "\n" for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    log = RunLog(tmp_path, 10, start_step=1)
    assert [row["step"] for row in log.rows] == [1]
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(lines)
    with log:
        log.start()
    assert (tmp_path / "metrics.jsonl").read_text() == lines[0]


def test_spoilt_lines_are_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(json.dumps(ROW).encode() + b'\n\xff\xfe\n{"step": "x", "kind": "train"}\n[1]\n{"st')
    assert read_metrics(file) == [ROW]
    assert read_metrics(tmp_path / "gone.jsonl") == []


def test_trackers_get_the_rows_and_are_closed(tmp_path):
    class Tracker:
        def __init__(self):
            self.rows, self.closed = [], False

        def add(self, row):
            self.rows.append(row)

        def close(self):
            self.closed = True

    tracker = Tracker()
    log = RunLog(tmp_path, 10)
    with log:
        log.start([tracker])
        log.add(ROW)
    assert (tracker.rows, tracker.closed) == ([ROW], True)


def test_means_go_on_from_their_state():
    first, second = Means(), Means()
    first.add({"a": 1.0, "b": torch.tensor(4.0)})
    second.restore(first.state())
    for means in (first, second):
        means.add({"a": 3.0})
    assert first.take() == second.take() == {"a": 2.0, "b": 4.0}  # (1 + 3) / 2
    assert first.take() == {}


def test_a_silent_log_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with SilentLog() as log:
        log.start()
        log.add(ROW)
        log.say("no word")
        log.progress("train", 1, 2)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("row", [ROW, {"kind": "eval", "step": 1, "images": 4, "bbox_AP": None}])
def test_each_row_is_told(tmp_path, caplog, row):
    log = RunLog(tmp_path, 10)
    with log, caplog.at_level("INFO", logger="dprd_cli"):
        log.start()
        log.add(row)
    assert caplog.messages[0].startswith("step 1/10 ")
