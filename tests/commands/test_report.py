"""`dprd report` through the command line, of whole, partial, broken and hostile runs."""

import json
import re
from pathlib import Path

import pytest
import torch

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from pages import check, make_run
from paths import TINY

CLASSES = ("<script>alert('x')</script>", 'a "quoted" & b', "flower", "fan", "lizard", "$cash$ 10^2")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return checkpoints of detectors that were never trained: with parts and masks, and with neither."""
    folder = tmp_path_factory.mktemp("checkpoints")
    data = folder / "data"
    assert cli.run(["data", "synth", str(data), "--train", "1", "--val", "2", "--size", "64"]) == 0
    for file in data.glob("*.json"):
        tree = json.loads(file.read_text())
        for row, name in zip(tree["categories"], CLASSES, strict=True):
            row["name"] = name
        file.write_text(json.dumps(tree))
    for name, masks, more in (("parts", True, []), ("plain", False, ["preset=mask-rcnn-small"])):
        low = ["model.test.score_thresh=0.0", f"data.path={data}"]
        config = resolve(config_file=TINY, overrides=[*low, *more])
        torch.manual_seed(0)
        payload = {
            "config": config.model_dump(mode="json"),
            "class_names": list(CLASSES),
            "category_ids": [1, 2, 3, 4, 5, 6],
            "with_masks": masks,
            "model": build_detector(config.model, num_classes=6, with_masks=masks).state_dict(),
            "step": 3,
        }
        save_checkpoint(folder / f"{name}.pt", payload)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_whole_run(checkpoints, capsys):
    run = make_run("run", checkpoints / "parts.pt")
    assert cli.run(["report", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err.splitlines()[0] == "run: measuring best.pt"
    assert re.fullmatch(r"report: run/report\.html \(\d\.\d MB\)", err.splitlines()[-1])
    assert document["report"] == "run/report.html"
    assert document["bytes"] == (run / "report.html").stat().st_size
    (one,) = document["runs"]
    assert (one["name"], one["measured"]["images"], one["measured"]["step"]) == ("run", 2, 3)
    assert one["not_measured"] is None
    page = check(run / "report.html")
    assert CLASSES[0] in page.text
    assert CLASSES[1] in page.text
    assert CLASSES[5] in page.text
    for title in (
        "Accuracy",
        "Training",
        "Precision and recall",
        "Confusion",
        "Parts",
        "Grad-CAM",
        "Settings",
    ):
        assert title in page.text
    assert "Not shown" not in page.text
    assert len(page.images) > 10


def test_a_run_without_parts_and_masks(checkpoints):
    make_run("run", checkpoints / "plain.pt")
    assert cli.run(["report", "run", "--out", "sub/page.html", "--limit", "1"]) == 0
    page = check("sub/page.html")
    assert "No masks: the detector or the data has none." in page.text
    assert "No parts: the detector has none" in page.text
    assert "on the first 1 of 2 images" in page.text


def test_several_runs_are_compared_first(checkpoints, capsys):
    make_run("a", checkpoints / "parts.pt")
    make_run("b", **{"config.toml": TINY.read_text().replace("batch_size = 2", "batch_size = 3")})
    assert cli.run(["report", "a", "b", "--no-eval"]) == 0
    assert capsys.readouterr().err.startswith("report: report.html (")
    page = check("report.html")
    assert page.text.index("Runs side by side") < page.text.index("Accuracy")
    assert "train.batch_size23" in page.text.replace(" ", "")
    assert page.links[:4] == ["#content", "#comparison", "#run1", "#run2"]


def test_a_study_comes_first():
    Path("study").mkdir()
    make_run("study/one")
    Path("study/table.csv").write_text("variant,AP\n<b>one</b>,12.5\nshort\n")
    Path("study/study.json").write_text(json.dumps({"title": "T & T"}))
    assert cli.run(["report", "study", "--no-eval", "--out", "p.html"]) == 0
    page = check("p.html")
    assert "<b>one</b>" in page.text
    assert "T & T" in page.text
    assert "no plot.png: no plot" in page.text


def test_a_study_is_shown_as_its_tables_say():
    Path("study").mkdir()
    make_run("study/one")
    Path("study/table.csv").write_text("variant,AP\nall,12.3456789\n")
    Path("study/table.md").write_text(
        "# Effects\n\nOf a & b.\n\n| | AP |\n|---|--:|\n| all | 12.3 ± 0.4 |\n\n|\n\n"
        "| rows |\n|---|\n| 2 - 1 |\n"
    )
    assert cli.run(["report", "study", "--no-eval", "--out", "p.html"]) == 0
    text = check("p.html").text
    assert "Of a & b." in text
    assert "12.3 ± 0.4" in text
    assert "2 - 1" in text
    assert "12.3456789" not in text


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"metrics.jsonl": None}, "no rows in metrics.jsonl: no training curves"),
        ({"metrics.jsonl": '{"kind": "train", "st'}, "no rows in metrics.jsonl: no training curves"),
        ({"config.toml": None}, "no config.toml: settings unknown"),
        ({"config.toml": "a = ["}, "config.toml"),
        ({"environment.json": None}, "no environment.json: environment unknown"),
        ({"environment.json": "[1]"}, "environment.json: not a JSON object"),
        ({"results.json": "{"}, "results.json: not readable"),
        ({}, "no checkpoint (best.pt or last.pt): nothing can be measured anew"),
    ],
)
def test_what_a_run_lacks_is_said(files, line):
    make_run("run", **files)
    assert cli.run(["report", "run"]) == 0
    assert line in check("run/report.html").text


@pytest.mark.parametrize(
    "metrics",
    [
        '{"kind": "train", "step": 1, "loss": null}',  # as NaN is written
        '{"kind": "train", "step": 1, "loss": "text"}',
        '{"kind": "train", "step": "one", "loss": 1}',
        '{"kind": "eval", "step": 1, "bbox_AP": 0}',
    ],
)
def test_odd_metrics_do_not_stop_a_report(metrics):
    make_run("run", **{"metrics.jsonl": metrics})
    assert cli.run(["report", "run"]) == 0
    check("run/report.html")


@pytest.mark.parametrize(
    "results", [{"bbox": {}}, {"bbox": {"AP": "x"}, "classes": [1]}, {"bbox": {}, "classes": 3}]
)
def test_odd_results_do_not_stop_a_report(results):
    make_run("run", **{"results.json": json.dumps(results)})
    assert cli.run(["report", "run"]) == 0
    check("run/report.html")


def test_a_torn_checkpoint_is_said(checkpoints, capsys):
    run = make_run("run")
    (run / "best.pt").write_bytes((checkpoints / "plain.pt").read_bytes()[:5000])
    assert cli.run(["report", "run"]) == 0
    assert "run: not measured: run/best.pt" in capsys.readouterr().err
    assert "Nothing was measured for this page: run/best.pt" in check("run/report.html").text


def test_headline_numbers_are_those_of_learned_offsets(capsys):
    """Other offsets and test-time augmentation measure another detector."""
    boxes = {"images": 9, "bbox": {"AP": 10.0}}
    other = {"images": 9, "bbox": {"AP": 99.0}}
    make_run(
        "run",
        **{
            "results.json": json.dumps(boxes),
            "eval_val_mean.json": json.dumps({**other, "part_offsets": "mean"}),
            "eval_val_tta.json": json.dumps({**other, "tta": True}),
            "eval_train.json": json.dumps({**other, "split": "train"}),
        },
    )
    assert cli.run(["report", "run", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["runs"]
    assert (one["headline"]["bbox_AP"], one["headline_from"]) == (10.0, "results.json, 9 images")


def test_what_is_no_run_is_refused(capsys):
    Path("empty").mkdir()
    assert cli.run(["report", "empty"]) == 1
    line = "error: empty/: holds no run and no ablation; pass a folder that `dprd train` made"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert cli.run(["report", "absent"]) == 1
    assert capsys.readouterr().err.startswith("error: no such checkpoint: absent")
    assert cli.run(["report", "--limit", "-1"]) == 2


def test_a_page_that_cannot_be_written(capsys):
    make_run("run")
    Path("file").write_text("")
    assert cli.run(["report", "run", "--out", "file/page.html"]) == 2
    assert capsys.readouterr().err == "error: --out file: a file; choose a folder\n"
