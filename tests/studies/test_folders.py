"""What lies in the run folders of studies."""

import shutil

import pytest

from dprd_cli.errors import UsageError, UserError
from dprd_cli.studies.folders import config_of, finished_like, is_finished, state_of


def test_a_run_is_absent_then_started_then_done(planned, start):
    one, other = planned().jobs
    assert state_of(one) == "absent"
    assert state_of(start(one)) == "started"
    assert state_of(start(other, box_ap=10.0)) == "done"


def test_results_of_an_earlier_step_are_not_the_runs(planned, start):
    job, _ = planned().jobs
    start(job, box_ap=10.0)
    assert is_finished(job.folder, 4)
    assert not is_finished(job.folder, 5)


def test_what_a_kill_left_is_no_run_and_other_files_are_in_the_way(planned):
    job, _ = planned().jobs
    job.folder.mkdir(parents=True)
    (job.folder / ".lock").write_text("")
    assert state_of(job) == "absent"
    (job.folder / "notes.txt").write_text("")
    with pytest.raises(UserError, match="is not empty and no run; move it away, or choose another --out"):
        state_of(job)


def test_another_run_in_the_folder_is_named_by_its_keys(planned, start):
    start(planned().jobs[0])
    pairs = ("train.lr=0.5", "train.warmup_steps=7", "data.flip=0.5", "train.ema=0.9")
    job, _ = planned(overrides=pairs).jobs
    with pytest.raises(
        UserError, match=r"holds another run \(.*, not .*, and 1 more\); choose another --out"
    ):
        state_of(job)


def test_a_finished_run_of_another_study_serves(planned, start, tmp_path):
    job, _ = planned().jobs
    runs = tmp_path / "out"
    assert finished_like(job, runs) is None
    start(job, box_ap=10.0)
    assert finished_like(job, runs) is None  # it is the job's own
    elsewhere = runs / "other" / "x-seed0"
    shutil.copytree(job.folder, elsewhere)
    assert finished_like(job, runs) == elsewhere
    (elsewhere / "config.toml").write_text("a = [")  # broken: no fault of this study
    assert finished_like(job, runs) is None


def test_keys_that_are_newer_than_the_run_have_their_defaults(planned, start):
    job, _ = planned().jobs
    start(job)
    path = job.folder / "config.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("straight_through")))
    assert config_of(job.folder) == job.config
    with pytest.raises(UsageError, match="cannot read"):
        config_of(job.folder / "absent")
