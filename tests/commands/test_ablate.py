"""`dprd ablate` through the command line, on studies of seconds."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
import torch

import paths
from dprd_cli import cli
from dprd_cli.benchmark.costs import InferenceSpeed
from dprd_cli.config.presets import resolve
from dprd_cli.errors import DivergedError, InterruptedRun
from dprd_cli.files.folder_lock import BusyError
from dprd_cli.studies import costs as study_costs
from dprd_cli.studies import run as study_module
from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.plan import StudySettings, plan
from dprd_cli.training.loop import train
from dprd_cli.training.metrics_log import read_metrics
from paths import ROOT

TINY = str(paths.TINY)
#: Other processes run these sources too, wherever they start.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
COMMON = ["--config", TINY, "--steps", "2", "--seeds", "0", "--out", "out", "--set", "train.eval_every=0"]
STUDY = """
title = "Two sigmas"
preset = "dprd"

[variants.half]
label = "sigma 0.5"
model.parts.sigma = 0.5

[variants.one]
label = "sigma 1"
model.parts.sigma = 1.0
paper = { bbox_AP = 44.61 }
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sigmas.toml").write_text(STUDY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(capsys, *arguments, code=0):
    """Return stdout and stderr of an ablation."""
    found = cli.run(["ablate", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert found == code, err
    return out, err


def error(capsys, *arguments):
    """Return the exit code and the last line on stderr; nothing may be on stdout."""
    code = cli.run(["ablate", *arguments])
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err) == ("", False)
    return code, err.splitlines()[-1].removeprefix("error: ")


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings; returns the folders that were trained, in order."""
    folders = []
    real = study_module.train_locked

    def counted(config, run_dir, *, resume):
        folders.append((run_dir.name, resume))
        return real(config, run_dir, resume=resume)

    monkeypatch.setattr(study_module, "train_locked", counted)
    return folders


def test_a_study_from_nothing_to_tables_and_again_without_training(capsys, trained, monkeypatch):
    out, err = run(capsys, "sigmas.toml", *COMMON)
    assert trained == [("half-seed0", False), ("one-seed0", False)]
    assert out.startswith("sigmas: Two sigmas; mean ± sample standard deviation over seeds\n")
    assert "1 sigma 0.5" in out
    assert "44.61" in out
    assert err.splitlines()[-1] == (
        "sigmas: 2 of 2 runs; out/sigmas: table.md, table.tex, table.csv, study.json, plot.png"
    )
    folder = Path("out/sigmas")
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "table.md", "table.tex", "table.csv", "study.json", "plot.png",
    }  # fmt: skip
    results = json.loads((folder / "one-seed0" / "results.json").read_text())
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert [(row["variant"], row["seed"]) for row in rows] == [("half", "0"), ("one", "0")]
    assert float(rows[1]["bbox_AP"]) == results["bbox"]["AP"]

    out, err = run(capsys, "sigmas.toml", *COMMON, "--json")
    assert len(trained) == 2
    assert err.count("done before") == 2
    (document,) = json.loads(out)["studies"]
    assert document["rows"][1]["paper"] == {"bbox_AP": 44.61}
    assert document["settings"]["steps"] == 2

    # another process finished both just before this one had their locks
    real = study_module.state_of
    monkeypatch.setattr(
        study_module,
        "state_of",
        lambda job: real(job) if (job.folder / ".lock").exists() else "started",
    )
    _, err = run(capsys, "sigmas.toml", *COMMON)
    monkeypatch.setattr(study_module, "state_of", real)
    assert len(trained) == 2
    assert err.count("done before") == 2

    # a run of an earlier version, before a key existed whose default it had
    path = folder / "one-seed0" / "config.toml"
    text = path.read_text()
    path.write_text(re.sub(r"^(check_images|repeats|straight_through) = .*\n", "", text, flags=re.MULTILINE))
    assert path.read_text() != text
    run(capsys, "sigmas.toml", *COMMON)
    assert len(trained) == 2

    # another study takes the same run
    Path("again.toml").write_text(STUDY.replace("[variants.half]", "[variants.default]"))
    _, err = run(capsys, "again.toml", *COMMON)
    assert len(trained) == 2
    assert "again: default, seed 0 (1 of 2): the same run is out/sigmas/half-seed0\n" in err

    # what is measured with these settings at test
    out, err = run(capsys, "sigmas.toml", "--weights", "mine=out/sigmas/half-seed0/last.pt", "--out", "out")
    assert "measured before" not in err
    assert "Measured at test only" in out
    measured = json.loads(Path("out/sigmas-at-test/mine-one.json").read_text())
    assert (measured["images"], measured["part_iou"]) == (4, pytest.approx(1.0))  # sigma 1 moves no part
    _, err = run(capsys, "sigmas.toml", "--weights", "mine=out/sigmas/half-seed0/last.pt", "--out", "out")
    assert err.count("measured before") == 2

    # beside published rows
    out, err = run(capsys, "table4", "--weights", "out/sigmas/one-seed0", "--limit", "2", "--out", "out")
    rows = [
        line.split()
        for line in out.splitlines()[1:]
        if re.search(r"^ D-PRD|^ Cascade D-PRD|\(measured here\)", line)
    ]
    assert rows[0][:4] == ["one-seed0", "(measured", "here)", "MOBILENET_V2"]
    assert rows[-1][-7:] == ["51.1", "69.2", "56.0", "33.3", "53.2", "63.5", "44.7"]
    assert json.loads(Path("out/table4/one-seed0.json").read_text())["images"] == 2

    # other settings on the same folder
    code, line = error(capsys, "sigmas.toml", *COMMON, "--set", "train.lr=0.5")
    assert code == 1
    assert line == (
        "out/sigmas/half-seed0 holds another run (train.lr = 0.002, not 0.5); choose another --out, or move "
        "it away"
    )

    # what a dry run knows of the pace
    Path("three.toml").write_text(STUDY + "[variants.low]\nmodel.parts.sigma = 0.1\n")
    Path("out/sigmas").rename("out/three")
    out, _ = run(capsys, "three.toml", *COMMON, "--dry-run", "--json")
    (document,) = json.loads(out)["studies"]
    assert [(row["variant"], row["done"], row["left"]) for row in document["rows"]] == [
        ("half", [0], {}), ("one", [0], {}), ("low", [], {"0": 2}),
    ]  # fmt: skip
    half, _, low = document["rows"]
    assert (half["measured"], half["seconds"], low["measured"]) == (True, 0.0, False)
    assert low["seconds"] == pytest.approx(2 * low["pace"])
    assert len(trained) == 2


def test_kill_9_in_the_middle_of_a_variant_and_the_same_command_goes_on(capsys, trained):
    arguments = [*COMMON, "--steps", "16", "--set", "train.save_every=1"]
    command = [sys.executable, "-m", "dprd_cli", "ablate", "sigmas.toml", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    folder = Path("out/sigmas/half-seed0")
    try:
        while len(read_metrics(folder / "metrics.jsonl")) < 3 and process.poll() is None:
            sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = read_metrics(folder / "metrics.jsonl")
    assert 3 <= len(before) < 16
    (folder / ".results.json.tmp").write_text("{")  # as a kill in the middle of writing leaves it
    (Path("out/sigmas") / "one-seed0").mkdir()
    (Path("out/sigmas") / "one-seed0" / ".config.toml.tmp").write_text("pre")
    run(capsys, "sigmas.toml", *arguments)
    assert trained == [("half-seed0", True), ("one-seed0", False)]
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 17))  # no step twice, none missing
    assert [row["loss"] for row in rows[:3]] == [row["loss"] for row in before[:3]]


def test_a_run_that_another_process_holds_is_left_to_it(capsys, trained):
    folder = Path("out/sigmas/half-seed0")
    folder.mkdir(parents=True)
    holder = (
        "import sys, time; from pathlib import Path; from dprd_cli.training.run_folder import run_lock\n"
        "with run_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(300)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(folder)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert process.stdout.readline() == "held\n"
        _, err = run(capsys, "sigmas.toml", *COMMON)
        assert trained == [("one-seed0", False)]
        assert "half, seed 0 (1 of 2): another process trains it\n" in err
        assert "sigmas: 1 runs are with another process; the same command completes the tables\n" in err
    finally:
        process.kill()
        process.wait()
    run(capsys, "sigmas.toml", *COMMON)  # the system released the lock of the killed one
    assert trained == [("one-seed0", False), ("half-seed0", False)]


def test_an_interrupted_study_says_how_to_go_on(capsys, monkeypatch):
    def stopped(config, run_dir, *, resume):
        raise InterruptedRun("stopped at step 1 and saved; continue with: dprd train --resume x", 143)

    monkeypatch.setattr(study_module, "train_locked", stopped)
    code, line = error(capsys, "sigmas.toml", *COMMON)
    assert code == 143
    assert line == (
        "sigmas: half, seed 0 (1 of 2): stopped, and saved in out/sigmas/half-seed0; the same command goes on"
    )


def test_a_diverged_run_ends_in_its_exit_code_after_the_others(capsys, monkeypatch):
    real = study_module.train_locked

    def poisoned(config, run_dir, *, resume):
        if run_dir.name == "half-seed0":
            raise DivergedError("step 1: not finite: loss_cls")
        return real(config, run_dir, resume=resume)

    monkeypatch.setattr(study_module, "train_locked", poisoned)
    out, err = run(capsys, "sigmas.toml", *COMMON, code=4)
    assert "sigmas: half, seed 0 (1 of 2): step 1: not finite: loss_cls\n" in err
    assert "sigmas: 1 of 2 runs; " in err
    assert "with another process" not in err
    assert err.splitlines()[-1] == (
        "error: the loss of out/sigmas/half-seed0 was not finite; the other runs are done"
    )
    assert [line.split()[:4] for line in out.splitlines() if "sigma 1" in line] == [["2", "sigma", "1", "1"]]


def test_dry_run_trains_and_writes_nothing(capsys, trained):
    out, _ = run(capsys, "table1", *COMMON, "--dry-run")
    assert trained == []
    assert not Path("out").exists()
    lines = [line for line in out.splitlines() if line.strip()]
    assert lines[0] == "table1: Effects of each method; 2 steps a run, into out/table1"
    assert len([line for line in lines if "0 of 1" in line]) == 7
    (total,) = [line.split() for line in lines if line.strip().startswith("all ")]
    assert (total[:2], total[-1]) == (["all", "14"], "s")  # two steps of each variant
    assert "~: a step timed now" in out


def test_costs_are_kept_while_the_network_is_the_same(capsys, trained, monkeypatch):
    calls = []

    def measured(config, num_classes, size, device):
        calls.append((config.model.parts.mode, num_classes, size))
        return InferenceSpeed(memory=100.0, fps=2.0)

    monkeypatch.setattr(study_costs, "measure_inference", measured)
    out, err = run(capsys, "table2", *COMMON, "--cost-only")
    assert trained == []
    assert [mode for mode, *_ in calls] == ["pooling", "fixed", "fixed", "deformable", "deformable"]
    assert {(classes, size) for _, classes, size in calls} == {(6, (64, 64))}
    assert err.splitlines()[-1] == "table2: out/table2: costs.json, costs.md, costs.tex"
    words = next(line for line in out.splitlines() if "(D4)" in line).split()
    assert words[-4:] == ["100", "2242", "2.00", "9.5"]
    found = json.loads(Path("out/table2/costs.json").read_text())
    # the part layer: C = 16 channels, 3 anchors x 4 parts x 4 numbers, and their biases
    assert found["D4"]["parameters"] - found["D2"]["parameters"] == pytest.approx((16 * 48 + 48) / 1e6)

    planned = plan(STUDIES["table2"], StudySettings(config_file=Path(TINY)), [0], Path("out"))
    study_costs.measure_costs(planned, 6)
    assert len(calls) == 5
    study_costs.measure_costs(planned, 7)  # other classes: another network
    assert len(calls) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["table9"], 2, "unknown study 'table9' (did you mean 'table"),
        (["table4"], 2, "table4 measures checkpoints; pass them with --weights NAME=RUN"),
        (["table1", "--weights", "x"], 2, "--weights: the rows of table1 are networks that are trained diff"),
        (
            ["fig4", "--weights", "gone"],
            1,
            "no such checkpoint: gone; pass a file, a run folder, or one of: voc, demo, demo-cascade-mrcnn",
        ),
        (["table4", "--weights", "=x"], 2, "--weights =x: expected NAME=RUN, such as --weights mine=runs/mi"),
        (
            ["table4", "--weights", "a=x", "--weights", "a=y"],
            2,
            "--weights a=y: the name a is taken; give an",
        ),
        (["table4", "--weights", "a=x", "--steps", "3"], 2, "--steps: the checkpoints of --weights fix this"),
        (["table1", "--limit", "3"], 2, "--limit, --tta: for measuring checkpoints with --weights"),
        (["table1", "--report-only"], 1, "runs/ablate/table1: no finished run with these settings; train th"),
        (["table1", "--dry-run", "--cost-only"], 2, "--dry-run, --cost-only: one of them"),
        (
            ["table1", "--seeds", "0,0"],
            2,
            "--seeds 0,0: expected different numbers with commas between, such",
        ),
        (["table1", "--seeds", "a"], 2, "--seeds a: expected different numbers with commas between, such as"),
        (["table1", "--size", "smal"], 2, "unknown size 'smal' (did you mean 'small'?); there are: small, "),
        (["table1", "--backbone", "r51"], 2, "unknown backbone 'r51' (did you mean 'r50'?)"),
        (["table1", "--data", "gone"], 3, "gone: no such data folder"),
        (
            ["fig4", "--set", "model.parts.sigma=0.4"],
            2,
            "--set model.parts.sigma=0.4: fig4 sets model.parts.sigma itself; leave it out",
        ),
        (["gone.toml"], 2, "gone.toml: cannot read the config file (No such file or directory)"),
    ],
)
def test_wrong_arguments_are_named(capsys, arguments, code, line):
    found, last = error(capsys, *arguments)
    assert last.startswith(line)
    assert found == code


def test_a_study_files_mistakes_are_named(capsys):
    Path("mine.toml").write_text("titel = 'x'\n[variants.a]")
    code, last = error(capsys, "mine.toml", *COMMON)
    assert last == "mine.toml: no key 'titel' in a study (did you mean 'title'?)"
    assert code == 2
    Path("mine.toml").write_text("[variants.a]\n[variants.b]")
    code, last = error(capsys, "mine.toml", *COMMON)
    assert last.startswith("mine: 'b' is 'a' again, because")
    assert code == 2


def test_a_locked_run_is_not_trained_by_dprd_train_either():
    Path("run").mkdir()
    holder = "import sys; from pathlib import Path; from dprd_cli.training.run_folder import run_lock\n"
    holder += "with run_lock(Path('run')): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match="run: another process is training this run"):
            train(resolve(config_file=Path(TINY)), Path("run"))
    assert not (Path("run") / ".lock").exists()
