"""A study's trainings, with a trainer that takes no time."""

import json
import logging
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dprd_cli.errors import DivergedError, InterruptedRun, UserError
from dprd_cli.files.folder_lock import BusyError
from dprd_cli.studies import run as module
from dprd_cli.studies.run import StudyOutcome, finished_runs, run_study
from dprd_cli.studies.summary import OTHER_OFFSETS, offsets_file


@pytest.fixture
def trained(monkeypatch):
    """Train nothing, and leave what a training leaves, or raise what `errors` has of a folder."""
    calls = SimpleNamespace(folders=[], errors={})

    def train(config, folder, *, resume):
        calls.folders.append((folder.name, resume))
        if folder.name in calls.errors:
            raise calls.errors[folder.name]
        (folder / "results.json").write_text(json.dumps({"step": config.train.steps, "bbox": {"AP": 1.0}}))

    monkeypatch.setattr(module, "train_locked", train)
    return calls


def names(jobs):
    return [job.folder.name for job in jobs]


def test_absent_runs_are_made_started_ones_resumed_and_finished_ones_skipped(planned, start, trained):
    plan = planned(seeds=(0, 1))
    start(plan.jobs[0], box_ap=10.0)
    start(plan.jobs[1])
    seen = []
    outcome = run_study(plan, lambda outcome: seen.append(len(outcome.done)))
    assert trained.folders == [("b-seed0", True), ("a-seed1", False), ("b-seed1", False)]
    assert outcome == StudyOutcome(done=plan.jobs)
    assert seen == [1, 2, 3, 4]  # the tables are written anew after each


def test_the_same_run_of_another_study_is_taken(planned, start, trained):
    plan = planned()
    start(plan.jobs[0], box_ap=10.0)
    elsewhere = plan.runs / "other" / "x-seed0"
    elsewhere.parent.mkdir()
    shutil.move(plan.jobs[0].folder, elsewhere)
    outcome = run_study(plan, lambda outcome: None)
    assert trained.folders == [("b-seed0", False)]
    assert names(outcome.done) == ["x-seed0", "b-seed0"]


def test_a_folder_in_the_way_is_named_before_anything_is_trained(planned, start, trained):
    plan = planned()
    start(planned(overrides=("train.lr=0.5",)).jobs[1])
    with pytest.raises(UserError, match="b-seed0 holds another run"):
        run_study(plan, lambda outcome: None)
    assert trained.folders == []


def test_busy_and_diverged_runs_do_not_stop_the_others(planned, trained, caplog):
    caplog.set_level(logging.INFO, logger="dprd_cli")
    plan = planned(seeds=(0, 1))
    trained.errors["a-seed0"] = BusyError("held")
    trained.errors["b-seed0"] = DivergedError("step 1: not finite")
    outcome = run_study(plan, lambda outcome: None)
    assert (names(outcome.busy), names(outcome.diverged)) == (["a-seed0"], ["b-seed0"])
    assert names(outcome.done) == ["a-seed1", "b-seed1"]
    assert "sigmas: b, seed 0 (2 of 4): step 1: not finite" in caplog.messages


def test_a_stopped_run_keeps_its_exit_code(planned, trained):
    trained.errors["a-seed0"] = InterruptedRun("stopped", 143)
    with pytest.raises(InterruptedRun, match=r"sigmas: a, seed 0 .*; the same command goes on") as error:
        run_study(planned(), lambda outcome: None)
    assert error.value.exit_code == 143


def test_what_is_there_is_found_and_nothing_trained(planned, start, trained):
    plan = planned(seeds=(0, 1))
    start(plan.jobs[0], box_ap=10.0)
    start(plan.jobs[1])
    assert names(finished_runs(plan).done) == ["a-seed0"]
    assert trained.folders == []


def test_a_measurement_counts_only_if_it_is_of_the_last_checkpoint(planned, start, sigmas):
    variants = (sigmas.variants[0], replace(sigmas.variants[0], key="m", base="a", part_offsets="mean"))
    plan = planned(replace(sigmas, variants=variants))
    job = start(plan.jobs[0], box_ap=10.0)
    assert names(finished_runs(plan).done) == ["a-seed0"]
    path = job.folder / offsets_file("mean")
    for checkpoint, step, count in (("best.pt", 4, 1), ("last.pt", 3, 1), ("last.pt", 4, 2)):
        path.write_text(json.dumps({"checkpoint": f"x/{checkpoint}", "step": step, "bbox": {"AP": 1.0}}))
        assert len(finished_runs(plan).done) == count


def test_trained_parts_are_measured_with_their_mean_and_without_offsets(
    planned, start, sigmas, tiny_checkpoint, trained
):
    study = replace(sigmas, variants=sigmas.variants[:1], measures_offsets=True)
    plan = planned(study, flags={"train.steps": 3})  # as many as the checkpoint was trained for
    job = start(plan.jobs[0], box_ap=10.0)
    shutil.copy(tiny_checkpoint, job.folder / "last.pt")
    run_study(plan, lambda outcome: None)
    measured = {kind: json.loads((job.folder / offsets_file(kind)).read_text()) for kind in OTHER_OFFSETS}
    for kind, content in measured.items():
        assert (content["part_offsets"], content["split"], content["step"]) == (kind, "val", 3)
        assert content["checkpoint"] == str(job.folder / "last.pt")
    assert measured["reference"]["part_iou"] == pytest.approx(1.0)  # no part moves
    times = {path: path.stat().st_mtime_ns for path in job.folder.glob("eval_*")}
    run_study(plan, lambda outcome: None)
    assert {path: path.stat().st_mtime_ns for path in job.folder.glob("eval_*")} == times  # not again
    assert trained.folders == []
