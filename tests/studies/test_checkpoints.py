"""Given checkpoints as the rows or the seeds of a study."""

import json
from dataclasses import replace

import pytest

from dprd_cli.errors import UsageError
from dprd_cli.studies import checkpoints as module
from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.checkpoints import (
    TEST_KEYS,
    CheckpointStudyOptions,
    StudyCheckpoint,
    check_measurable,
    measure_checkpoints,
    parse_checkpoints,
)
from dprd_cli.weights.load import load_model

OPTIONS = CheckpointStudyOptions(device="cpu", limit=1)


def test_checkpoints_are_named_by_the_user_or_by_their_run(tmp_path):
    run = tmp_path / "a=b"
    run.mkdir()
    (run / "last.pt").write_text("")
    found = parse_checkpoints(["mine=runs/x", "runs/y", "runs/z/last.pt", "demo", str(run)])
    assert [one.name for one in found] == ["mine", "y", "z", "demo", "a=b"]
    assert [one.spec for one in found] == ["runs/x", "runs/y", "runs/z/last.pt", "demo", str(run)]


@pytest.mark.parametrize("words", [["=x"], ["a="], ["a/b=x"], ["..=x"], ["a=x", "a=y"], ["runs/a", "old/a"]])
def test_names_that_cannot_be_files_or_are_taken(words):
    with pytest.raises(UsageError, match=f"^--weights {words[-1]}: "):
        parse_checkpoints(words)


def test_only_settings_at_test_and_published_rows_can_be_measured():
    measurable = {"fig4", "offsets", "refeed", "level", "average-masks", "table4", "table5"}
    for name, study in STUDIES.items():
        if name in measurable:
            check_measurable(study)
        else:
            with pytest.raises(UsageError, match=f"the rows of {name} are networks that are trained differ"):
                check_measurable(study)


def test_other_data_is_measured_when_asked_for(tmp_path, sigmas, tiny_checkpoint):
    checkpoints = [StudyCheckpoint("mine", tiny_checkpoint)]
    other = replace(OPTIONS, overrides=["data.synthetic_val=2", "data.test_min_size=96"], limit=0)
    (run, _) = measure_checkpoints(sigmas, checkpoints, tmp_path, other).runs
    content = json.loads(run.folder.read_text())
    assert content["images"] == 2
    assert content["measured"]["data_section"]["test_min_size"] == 96
    with pytest.raises(UsageError, match="the checkpoint fixes this"):
        measure_checkpoints(sigmas, checkpoints, tmp_path, replace(OPTIONS, overrides=["train.lr=1"]))


def test_a_network_keeps_its_weights_and_takes_the_rows_settings(tmp_path, sigmas, tiny_checkpoint):
    """At sigma 1 no part may move: all parts are their reference, whatever was trained."""
    summary = measure_checkpoints(sigmas, [StudyCheckpoint("mine", tiny_checkpoint)], tmp_path, OPTIONS)
    assert [(run.variant, run.seed) for run in summary.runs] == [("a", 0), ("b", 0)]
    trained, fixed = (run.metrics["part_iou"] for run in summary.runs)
    assert fixed == pytest.approx(1.0)
    assert 0.5 <= trained < 1.0  # sigma 0.5
    assert summary.study.same_networks
    assert summary.study.note.startswith("Measured at test only")
    assert summary.settings == {"weights": {"mine": tiny_checkpoint}, "limit": 1, "tta": False}
    content = json.loads((tmp_path / "mine-b.json").read_text())
    assert content["measured"]["set"] == {"model.parts.sigma": 1.0}
    assert content["images"] == 1


def test_what_was_measured_before_is_read_until_something_changes(
    tmp_path, sigmas, monkeypatch, tiny_checkpoint
):
    calls = []

    real = module.evaluate
    monkeypatch.setattr(module, "evaluate", lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    one = replace(sigmas, variants=sigmas.variants[:1])
    checkpoints = [StudyCheckpoint("mine", tiny_checkpoint)]
    first = measure_checkpoints(one, checkpoints, tmp_path, OPTIONS)
    assert measure_checkpoints(one, checkpoints, tmp_path, OPTIONS) == first
    assert len(calls) == 1
    measure_checkpoints(one, checkpoints, tmp_path, replace(OPTIONS, limit=2))
    assert len(calls) == 2


def test_published_rows_get_a_row_for_each_checkpoint(tmp_path, tiny_checkpoint):
    summary = measure_checkpoints(
        STUDIES["table5"], [StudyCheckpoint("mine", tiny_checkpoint)], tmp_path, OPTIONS
    )
    (row,) = summary.study.variants
    assert (row.key, row.preset) == ("mine", "cascade-dprd-small")
    assert not summary.study.same_networks
    assert (tmp_path / "mine.json").is_file()


def test_keys_at_test_are_those_that_no_weight_depends_on(tiny_checkpoint):
    """A network with another value of each has tensors of the same names and shapes."""
    from dprd_cli.config.tree import flatten, merge, nest, validate
    from dprd_cli.model.build import build_detector

    model = load_model(tiny_checkpoint, "cpu")
    others = {"model.parts.sigma": 0.9, "model.parts.refeed": "carry", "model.parts.level": "whole"}
    others["model.cascade.average_masks"] = False
    assert set(others) == TEST_KEYS
    for key, value in others.items():
        assert flatten(model.config)[key] != value
        tree = merge(model.config.model_dump(mode="json"), nest(key, value))
        other = build_detector(validate(tree).model, num_classes=6, with_masks=True)
        other.load_state_dict(model.detector.state_dict())  # raises if they differ
