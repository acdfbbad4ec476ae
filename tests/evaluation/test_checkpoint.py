"""Evaluation of a checkpoint and of a loaded model: the numbers are those of `evaluate`; what is written."""

import json
from dataclasses import replace

import pytest

from dprd_cli.data.build import build_dataset
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.errors import UsageError
from dprd_cli.evaluation.checkpoint import (
    CheckpointOptions,
    evaluate_checkpoint,
    evaluate_file,
    evaluate_model,
)
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.runtime.process_group import ProcessGroup
from paths import visible
from tiny_model import tiny_model


def test_a_checkpoint_and_the_file_of_its_detections_measure_the_same(tmp_path):
    """The demo on six built-in images: what it writes, read again, has the same numbers."""
    calls = []
    options = CheckpointOptions(
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
    assert rows == found.evaluation.evaluator.results["bbox"]
    assert len(rows) == sum(len(found.evaluation.evaluator.results[kind]) for kind in ("bbox",)) > 6
    assert not (tmp_path / "eval").exists()  # no figures


def test_the_file_names_say_how_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = CheckpointOptions(weights="demo", limit=1, part_offsets="reference", draw=False, device="cpu")
    for name in ("eval_val_reference.json", "eval_val_reference-2.json"):  # what was measured stays
        assert str(evaluate_checkpoint(options).file) == name
    again = replace(options, overwrite=True)
    assert str(evaluate_checkpoint(again).file) == "eval_val_reference.json"
    with pytest.raises(UsageError, match=r"^--out .*_reference.json: is there already; .* --overwrite"):
        evaluate_checkpoint(replace(options, out=tmp_path / "eval_val_reference.json"))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UsageError, match="pass the data"):
        evaluate_file(tmp_path / "results.json", CheckpointOptions())
    with pytest.raises(UsageError, match="a folder; name a file"):
        evaluate_checkpoint(CheckpointOptions(weights="demo", out=tmp_path, device="cpu"))


DATA = ("data.synthetic_val=2", "data.synthetic_size=64", "data.workers=0")


@pytest.fixture(scope="module")
def model():
    return tiny_model(names=SyntheticDataset.class_names).with_data(path="synthetic", overrides=DATA)


def test_the_numbers_are_those_of_evaluate_and_the_file_holds_them(model, tmp_path):
    options = CheckpointOptions(limit=1, out=tmp_path / "new" / "eval.json", save_results=tmp_path / "saved")
    found = evaluate_model(model, options)
    dataset = build_dataset(model.config.data, "val")
    plain = evaluate(model.detector, dataset, model.config, EvaluationOptions(limit=1))
    assert found.metrics == plain.metrics
    content = json.loads(options.out.read_text())
    assert content == found.to_json()
    assert (content["checkpoint"], content["split"], content["part_offsets"]) == ("tiny.pt", "val", "learned")
    assert visible(options.save_results) == ["bbox.json", "segm.json"]


def test_nothing_is_written_unless_asked_for(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []
    found = evaluate_model(
        model, CheckpointOptions(limit=1), on_progress=lambda done, total: told.append((done, total))
    )
    assert (found.file, found.evaluation.coco.images) == (None, 1)
    assert told == [(1, 1)]
    assert list(tmp_path.iterdir()) == []


def test_plots_of_one_process_show_the_best_and_worst_images(model, tmp_path):
    evaluate_model(model, CheckpointOptions(limit=1, plots=tmp_path / "plots"))
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"analysis.json", "pr_bbox.png", "confusion.png"} <= names


def test_other_processes_measure_and_return_nothing(model, tmp_path):
    class Other(ProcessGroup):
        def gather(self, item):
            assert [one.number for one in item] == [1]
            return []

    options = CheckpointOptions(out=tmp_path / "eval.json")
    config = model.config.model_copy(
        update={"train": model.config.train.model_copy(update={"batch_size": 1})}
    )
    assert evaluate_model(replace(model, config=config), options, Other(1, 2)) is None
    assert not options.out.exists()


def test_a_folder_is_no_results_file(model, tmp_path):
    with pytest.raises(UsageError, match=r"a folder; name a file$"):
        evaluate_model(model, CheckpointOptions(out=tmp_path))


def test_part_offsets_are_those_asked_for(model):
    found = evaluate_model(model.with_part_offsets("reference"), CheckpointOptions(limit=1))
    assert found.metrics["part_iou"] == 1
