import csv
import json
import re
from pathlib import Path

import pytest
import torch

import paths
from dprd_cli import cli
from dprd_cli.training.metrics_log import read_metrics

TINY = str(paths.TINY)


@pytest.fixture(autouse=True)
def _one_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def error(capsys, *arguments):
    """Return the exit code and the last line on stderr; nothing may be on stdout."""
    code = cli.run(["train", *arguments])
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return code, err.splitlines()[-1]


def test_train_then_resume(capsys):
    assert cli.run(["train", "--config", TINY, "--steps", "1"]) == 0
    out, err = capsys.readouterr()
    lines = err.splitlines()
    folder = "runs/cascade-dprd-small-mobilenet_v2-synthetic-1"
    assert lines[0] == (
        "no --data given: training on the built-in data (drawn on the fly; see `dprd data synth`)"
    )
    assert lines[1] == f"cascade-dprd-small on mobilenet_v2, 1 steps, into {folder}"
    assert lines[2].startswith("synthetic train: 8 images, 6 classes: tadpole, dumbbell")
    assert lines[4] == "on cpu, in float32 (the CPU has no instructions for bfloat16)"
    assert lines[5].startswith("the warm-up of 2 steps is longer than the run of 1: ")
    assert lines[6].startswith("step 1/1  loss ")
    assert lines[7].startswith("step 1/1  evaluation of 4 images: box AP ")
    images = f"{folder}/data/images"
    assert lines[-7:] == [
        f"run folder: {folder} (best.pt, last.pt, results.json, metrics.csv, curves and part overlays)",
        "next:",
        f"  dprd eval --weights {folder}",
        f"  dprd report {folder}",
        f"  dprd data synth {folder}/data --train 1 --val 12 --kind synthetic",
        f"  dprd predict {images} --weights {folder} --save-parts",
        f"  dprd visualize-parts {images} --weights {folder}",
    ]
    assert [line.split()[0] for line in out.splitlines() if line.split()][:12:11] == ["AP", "squid"]

    assert cli.run(["train", "--resume", "--steps", "2"]) == 0
    err = capsys.readouterr().err
    assert f"resuming the newest run: {folder}\n" in err
    assert f"resuming {folder} at step 1 of 2\n" in err
    assert "steps = 2\n" in (Path(folder) / "config.toml").read_text()
    rows = read_metrics(Path(folder) / "metrics.jsonl")
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("train", 1), ("eval", 1), ("train", 2), ("eval", 2),
    ]  # fmt: skip

    code, line = error(capsys, "--config", TINY, "--out", folder)
    assert code == 2
    assert line == (
        f"error: {folder} is not empty; choose another --out, or continue that run with --resume {folder}"
    )
    code, line = error(capsys, "--resume", folder, "--set", "model.neck.channels=8")
    assert code == 1
    assert line.startswith(f"error: {folder}: checkpoint of another model or class count (")


def test_json_is_one_document_on_stdout(capsys):
    assert (
        cli.run(["train", "--config", TINY, "--steps", "1", "--batch-size", "4", "--json", "--out", "x"]) == 0
    )
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["run"], document["best"], document["step"]) == ("x", "x/best.pt", 1)
    assert {"bbox", "segm", "classes", "recall50"} <= document.keys()
    # the file has a rate of 2e-3 for 2 images, and AdamW
    assert "learning rate 0.00283: 0.002 is for 2 images a step, scaled by the square root to 4 (" in err
    assert "lr = 0.00282" in Path("x/config.toml").read_text()


def test_find_lr_leaves_a_curve_and_no_run(capsys):
    command = ["train", "--config", TINY, "--find-lr", "--steps", "8", "--out", "lr", "--json"]
    assert cli.run(command) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert {path.name for path in Path("lr").iterdir()} == {
        "lr_finder.csv", "lr_finder.json", "lr_finder.png",
    }  # fmt: skip
    assert json.loads(Path("lr/lr_finder.json").read_text()).items() <= found.items()
    assert (found["configured"], found["batch_size"], found["optimizer"]) == (2e-3, 2, "adamw")
    rows = list(csv.DictReader(Path("lr/lr_finder.csv").read_text().splitlines()))
    assert float(rows[0]["lr"]) == pytest.approx(2e-6)
    assert "lr/lr_finder.png" in err


def test_probe_batch_prints_a_number_and_leaves_nothing(capsys, tmp_path):
    assert cli.run(["train", "--config", TINY, "--probe-batch"]) == 0
    out, _ = capsys.readouterr()
    assert int(re.fullmatch(r"largest batch: (\d+)\n", out)[1]) >= 1
    assert not list(tmp_path.iterdir())


def test_modes_exclude_each_other(capsys):
    code, line = error(capsys, "--find-lr", "--probe-batch")
    assert (code, line) == (2, "error: --resume, --find-lr, --probe-batch: choose one")


def test_a_metric_that_is_not_measured_is_refused_before_training(capsys):
    code, line = error(capsys, "--config", TINY, "--set", "train.best_metric=bbox_ap", "--out", "x")
    assert code == 2
    assert line.startswith("error: train.best_metric: no metric 'bbox_ap' (did you mean 'bbox_AP'?)")
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--preset", "cascade-dpdr"],
            "unknown preset 'cascade-dpdr' (did you mean 'cascade-dprd'?); there are: ",
        ),
        (
            ["--backbone", "r51"],
            "unknown backbone 'r51' (did you mean 'r50'?); there are: r10, r18, r34, r50, r101, ",
        ),
        (
            ["--schedule", "smal"],
            "unknown schedule 'smal' (did you mean 'small'?); there are: 1x, 3x, small, ",
        ),
        (
            ["--set", "model.parts.sgma=1"],
            "--set model.parts.sgma=1: no config key 'model.parts.sgma' (did you mean 'model.parts.sigma'?)",
        ),
        (["--set", "nonsense"], "--set nonsense: expected KEY=VALUE, such as --set model.parts.sigma=0.4"),
        (["--config", "gone.toml"], "--config gone.toml: no such file"),
        (["--device", "tpu"], "unknown device 'tpu'; there are: auto, cpu, cuda, cuda:N"),
        (["some-run"], "unexpected argument 'some-run'; to continue a run: dprd train --resume some-run"),
        (
            ["--resume", "--preset", "dprd", "--schedule", "3x"],
            "--preset, --schedule: a run is resumed with its own; start a new run to change it",
        ),
    ],
)
def test_wrong_arguments_are_named(capsys, arguments, line):
    code, last = error(capsys, *arguments)
    assert code == 2
    assert last.startswith(f"error: {line}")
    assert not Path("runs").exists()


def test_a_config_key_in_a_file_is_named_too(capsys):
    Path("run.toml").write_text("[train]\nstep = 3\n")
    code, line = error(capsys, "--config", "run.toml")
    assert (code, line) == (2, "error: run.toml: no config key 'train.step' (did you mean 'train.steps'?)")


def test_data_that_is_not_there_leaves_no_folder(capsys):
    code, line = error(capsys, "--data", "gone", "--out", "mine")
    assert code == 3
    assert line.startswith("error: gone: no such data folder")
    assert not Path("mine").exists()


def test_weights_that_are_not_there_leave_no_folder(capsys):
    code, line = error(capsys, "--config", TINY, "--backbone-weights", "gone.pth", "--out", "mine")
    assert code == 1
    assert line.startswith("error: gone.pth: ")
    assert not Path("mine").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--resume"], "no run to resume in runs/; start one with `dprd train`"),
        (["--resume", "gone"], "no such run: gone"),
        (
            ["--resume", "."],
            "no run to resume in .: it has no config.toml; dprd train --out . starts one there",
        ),
    ],
)
def test_nothing_to_resume(capsys, arguments, line):
    assert error(capsys, *arguments) == (1, f"error: {line}")


def test_training_starts_from_a_run(capsys, tmp_path):
    """All tensors are taken, and without --preset the network too; another preset takes what it has."""
    assert cli.run(["train", "--config", TINY, "--steps", "1", "--out", "first"]) == 0
    data = [
        "--set",
        "data.synthetic_size=64",
        "--set",
        "data.synthetic_train=8",
        "--set",
        "data.synthetic_val=4",
    ]
    short = [*data, "--steps", "1", "--batch-size", "2", "--set", "data.train_min_sizes=[64]"]
    short += ["--set", "train.eval_every=0", "--set", "data.test_min_size=64"]
    capsys.readouterr()
    assert cli.run(["train", "--weights", "first", *short, "--out", "second"]) == 0
    err = capsys.readouterr().err
    found = re.search(r"^(\d+) of (\d+) tensors from first/best\.pt$", err, re.MULTILINE)
    assert found
    assert found[1] == found[2]
    assert "fresh" not in err
    config = (tmp_path / "second" / "config.toml").read_text()
    assert 'name = "mobilenet_v2"' in config
    assert 'weights = "first"' in config

    assert (
        cli.run(["train", "--weights", "first", "--preset", "mask-rcnn-small", *short, "--out", "third"]) == 0
    )
    err = capsys.readouterr().err
    assert "tensors from first/best.pt" in err
    assert "mask-rcnn-small on mobilenet_v2" in err
    assert "fusion" not in err


def test_weights_that_are_not_there(capsys):
    assert error(capsys, "--weights", "gone") == (
        1,
        "error: no such checkpoint: gone; pass a file, a run folder, or one of: voc, demo, "
        "demo-cascade-mrcnn",
    )
    code, line = error(capsys, "--weights", "detectron2:mask_rcnn_R_50_FPN_9x")
    assert code == 2
    assert "no published weights 'detectron2:mask_rcnn_R_50_FPN_9x'" in line
    assert "dprd weights list" in line
