import json

import pytest

from dprd_cli.errors import UsageError
from dprd_cli.evaluation.checkpoint import MeasureOptions, evaluate_checkpoint, evaluate_file


def test_a_checkpoint_and_the_file_of_its_detections_measure_the_same(tmp_path):
    """The demo on six built-in images: what it writes, read again, has the same numbers."""
    calls = []
    options = MeasureOptions(
        weights="demo",
        limit=6,
        out=tmp_path / "eval.json",
        save_results=tmp_path / "results",
        draw=False,
        device="cpu",
    )
    found = evaluate_checkpoint(options, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (6, 6)
    assert json.loads((tmp_path / "eval.json").read_text()) == found.to_json()
    assert found.to_json()["part_offsets"] == "learned"
    assert found.evaluation.coco.images == 6
    rows = json.loads((tmp_path / "results" / "bbox.json").read_text())
    assert len(rows) == sum(len(found.evaluation.evaluator.results[kind]) for kind in ("bbox",)) > 6
    assert not (tmp_path / "eval").exists()  # no figures


def test_the_file_names_say_how_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = MeasureOptions(weights="demo", limit=1, part_offsets="reference", draw=False, device="cpu")
    assert str(evaluate_checkpoint(options).file) == "eval_val_reference.json"


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UsageError, match="pass the data"):
        evaluate_file(tmp_path / "results.json", MeasureOptions())
    with pytest.raises(UsageError, match="a folder; name a file"):
        evaluate_checkpoint(MeasureOptions(weights="demo", out=tmp_path, device="cpu"))
