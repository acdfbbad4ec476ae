"""What the command line names: runs, checkpoints, ablations."""

from pathlib import Path

import pytest

from dprd_cli.errors import UserError
from dprd_cli.report.collect import collect
from pages import make_run


def test_a_run_that_is_named_twice_comes_once():
    make_run("run", **{"best.pt": ""})
    runs, studies = collect(["run", "run/", "./run"])
    assert [run.name for run in runs] == ["run"]
    assert studies == []


def test_runs_of_one_name_are_told_apart_by_their_folders():
    for folder in ("a", "b"):
        Path(folder).mkdir()
        make_run(f"{folder}/run")
    runs, _ = collect(["a/run", "b/run"])
    assert [run.name for run in runs] == ["a/run", "b/run"]


def test_an_ablation_gives_its_runs_and_a_folder_of_ablations_all_of_them():
    for study in ("x", "y"):
        Path("all", study).mkdir(parents=True)
        make_run(f"all/{study}/one-seed0")
    runs, studies = collect(["all/x"])
    assert ([run.name for run in runs], [study.name for study in studies]) == (["one-seed0"], ["x"])
    runs, studies = collect(["all"])
    assert [study.name for study in studies] == ["x", "y"]
    assert [run.name for run in runs] == ["x/one-seed0", "y/one-seed0"]


def test_the_newest_run_is_taken_without_a_name():
    Path("runs").mkdir()
    make_run("runs/mine", **{"last.pt": ""})
    runs, _ = collect([])
    assert [run.name for run in runs] == ["mine"]


def test_what_is_no_run_is_refused():
    Path("empty").mkdir()
    with pytest.raises(UserError, match="empty/: holds no run and no ablation; pass a folder that"):
        collect(["empty"])
    with pytest.raises(UserError, match="no such checkpoint: absent"):
        collect(["absent"])
