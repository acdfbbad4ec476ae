"""Two detectors on the same images: detections from files, runs, and both; and what cannot be compared."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.errors import DataError, UsageError
from dprd_cli.evaluation.checkpoint import CheckpointOptions, evaluate_file
from dprd_cli.evaluation.compare import Resampling, compare_runs
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import TINY, visible

FEW = Resampling(100, 0)
CLASSES = ("tadpole", "dumbbell", "flower", "fan", "lizard", "squid")
CPU = CheckpointOptions(device="cpu")


def detections(tree, error, seed):
    """Return boxes near the objects, by so much of their size."""
    random, rows = np.random.default_rng(seed), []
    for one in tree["annotations"]:
        x, y, w, h = np.array(one["bbox"]) + random.normal(0, error, 4) * (one["bbox"][2:] * 2)
        box = [float(value) for value in (x, y, max(w, 1), max(h, 1))]
        rows.append({"image_id": one["image_id"], "category_id": one["category_id"], "bbox": box})
        rows[-1]["score"] = float(random.uniform(0.1, 1))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data of 16 images, detections in files, and two untrained detectors of the built-in data."""
    place = tmp_path_factory.mktemp("compare")
    size = ["--train", "1", "--val", "16", "--size", "64"]
    assert cli.run(["data", "synth", str(place / "data"), *size]) == 0
    tree = json.loads((place / "data" / "val.json").read_text())
    for name, error, seed in (("good", 0.02, 0), ("bad", 0.12, 1)):
        (place / f"{name}.json").write_text(json.dumps(detections(tree, error, seed)))
    for seed, name in enumerate(("first", "second")):
        (place / name).mkdir()
        config = resolve(config_file=TINY, overrides=["model.test.score_thresh=0.0", "data.synthetic_val=12"])
        torch.manual_seed(seed)
        payload = {
            "config": config.model_dump(mode="json"),
            "class_names": list(CLASSES),
            "category_ids": [1, 2, 3, 4, 5, 6],
            "with_masks": True,
            "model": build_detector(config.model, num_classes=6, with_masks=True).state_dict(),
            "step": 3,
        }
        save_checkpoint(place / name / "best.pt", payload)
    names = [*CLASSES, "whale"]
    state = build_detector(config.model, num_classes=7, with_masks=True).state_dict()
    more = {**payload, "class_names": names, "category_ids": [1, 2, 3, 4, 5, 6, 7], "model": state}
    save_checkpoint(place / "more.pt", more)
    return place


@pytest.fixture(autouse=True)
def _here(folder, tmp_path, monkeypatch):
    for path in folder.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)


def test_a_better_file_of_detections(tmp_path):
    options = CheckpointOptions(data="data", out=tmp_path / "out" / "c.json")
    found = compare_runs(("good.json", "bad.json"), options, FEW)
    document = json.loads((tmp_path / "out" / "c.json").read_text())
    assert document == found.document
    assert found.file == options.out
    assert visible(tmp_path / "out" / "c") == ["difference.png"]
    assert (document["images"], document["resamples"], document["seed"]) == (16, 100, 0)
    assert document["a"] == {"run": "good.json", "source": "good.json", "step": None}
    assert document["segm"] is None
    for key, name in (("a", "good.json"), ("b", "bad.json")):
        measured = evaluate_file(tmp_path / name, CheckpointOptions(data="data")).metrics
        for metric in ("AP", "AP50", "AP75"):
            assert document["bbox"][metric][key] == pytest.approx(measured.bbox[metric], rel=1e-12)
        for row, one in zip(document["classes"], measured.classes, strict=True):
            assert (row["name"], row["objects"]) == (one.name, one.objects)
            assert row["bbox"]["AP"][key] == pytest.approx(one.bbox_ap, rel=1e-12)
    total = document["bbox"]["AP"]
    assert total["p"] == pytest.approx(2 / 101)
    assert 0 < total["low"] < total["difference"] < total["high"]


def test_the_seed_alone_decides(tmp_path):
    options = CheckpointOptions(data="data", draw=False)
    runs = ("good.json", "bad.json")
    first, again, other = (compare_runs(runs, options, Resampling(50, seed)) for seed in (4, 4, 5))
    assert first.document == again.document
    assert first.document["bbox"]["AP"]["low"] != other.document["bbox"]["AP"]["low"]
    assert [str(one.file) for one in (first, again)] == ["compare_val.json", "compare_val-2.json"]
    assert not (tmp_path / "compare_val").exists()


def test_a_run_and_the_detections_that_it_saved_do_not_differ(tmp_path, caplog):
    caplog.set_level("INFO", "dprd_cli")
    save = ["--save-results", "saved", "--no-plots", "--out", "x.json", "--device", "cpu"]
    assert cli.run(["eval", "--weights", "first", *save]) == 0
    found = compare_runs(("first", "saved"), CPU, FEW).document
    for kind in ("bbox", "segm"):
        one = found[kind]["AP"]
        assert (one["difference"], one["low"], one["high"], one["p"]) == (0, 0, 0, 1)
        assert one["a"] == pytest.approx(json.loads((tmp_path / "x.json").read_text())[kind]["AP"], rel=1e-12)
    assert found["a"] == {"run": "first", "source": "first/best.pt", "step": 3}
    assert found["data"] == "synthetic"
    assert visible(tmp_path / "first") == ["best.pt", "compare_val", "compare_val.json"]
    # the file has all images, and the run is asked for some
    few = compare_runs(("saved", "first"), replace(CPU, limit=10, draw=False), FEW).document
    assert (few["images"], few["bbox"]["AP"]["difference"]) == (10, 0)
    boxes = compare_runs(("saved/bbox.json", "first"), replace(CPU, draw=False), FEW).document
    assert boxes["segm"] is None
    assert "masks are not compared: one of the two has none" in caplog.text


def test_a_folder_of_predictions_is_matched_by_the_names(tmp_path, capsys):
    images = [str(path) for path in sorted((tmp_path / "data" / "images").glob("val*"))] or ["data/images"]
    flags = ["--weights", "first", "--save", "coco", "--no-masks", "--device", "cpu", "--set"]
    assert cli.run(["predict", *images, *flags, "data.test_min_size=64"]) == 0
    options = CheckpointOptions(data="data", draw=False, device="cpu")
    found = compare_runs(("predictions", "first"), options, FEW).document
    assert found["bbox"]["AP"]["difference"] == pytest.approx(0, abs=0.5)  # predict leaves low scores out
    assert found["segm"] is None


def refused(kind, *runs, **options):
    with pytest.raises(kind) as caught:
        compare_runs(runs, replace(CPU, **options), FEW)
    return str(caught.value)


def test_what_cannot_be_compared(tmp_path):
    line = refused(UsageError, "good.json", "bad.json")
    assert line == "--compare: pass the data that the detections belong to with --data"
    assert "gone.json" in refused(DataError, "good.json", "gone.json", data="data")
    line = refused(DataError, "first", "more.pt", data="data")
    assert line == ("--compare: classes that more.pt alone has: whale; compare detectors of the same classes")
    (tmp_path / "both").mkdir()
    for name in ("bbox.json", "segm.json"):
        shutil.copy("good.json", f"both/{name}")
    assert refused(DataError, "both", "good.json", data="data").startswith("both/segm.json: has no masks")
    assert not (tmp_path / "compare_val.json").exists()


def test_runs_of_other_data_need_one_that_is_named(tmp_path):
    for name, changes in (("moved", {"path": "data"}), ("larger", {"synthetic_size": 96})):
        content = torch.load("second/best.pt", weights_only=True)
        content["config"]["data"] |= changes
        torch.save(content, f"{name}.pt")
    line = refused(UsageError, "first", "moved.pt")
    assert line == (
        "--compare: first is of the data synthetic, moved.pt of data; pass the data that both are "
        "measured on with --data"
    )
    line = refused(DataError, "first", "larger.pt")
    assert line.startswith("--compare: first and larger.pt are not of the same images and objects; pass ")
    found = compare_runs(("first", "moved.pt"), replace(CPU, data="data", draw=False, limit=2), FEW)
    assert found.document["images"] == 2


def test_the_command(capsys):
    flags = ["--data", "data", "--resamples", "50", "--seed", "3"]
    assert cli.run(["eval", "--compare", "good.json", "bad.json", *flags]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == ["A  good.json", "B  bad.json"]
    assert [line.split()[:2] for line in lines if line.startswith(" box AP")][:3] == [
        ["box", name] for name in ("AP", "AP50", "AP75")
    ]
    assert {line.split()[0] for line in lines if line.split()} >= set(CLASSES)
    assert lines[-1].startswith("box AP: A is better by ")
    assert lines[-1].endswith(" on these 16 images (p = 0.039)")
    assert err.splitlines()[-2:] == ["figure: compare_val/difference.png", "results: compare_val.json"]
    assert cli.run(["eval", "--compare", "bad.json", "bad.json", *flags, "--no-plots", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["seed"], document["bbox"]["AP"]["p"]) == (3, 1)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--weights", "first"], "--weights: --compare names both that are measured; leave it out"),
        (["--results", "x.json"], "--results: --compare names both that are measured; leave it out"),
        (["--split", "test-dev"], "--compare: test-dev has no annotations; take val or train"),
        (["--plots", "a", "--no-plots"], "--plots, --no-plots: one of the two"),
    ],
)
def test_options_that_do_not_go_together(capsys, flags, line):
    assert cli.run(["eval", "--compare", "good.json", "bad.json", *flags]) == 2
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_the_draws_are_for_a_comparison(capsys):
    assert cli.run(["eval", "--weights", "first", "--seed", "1"]) == 2
    assert capsys.readouterr() == ("", "error: --resamples, --seed: for --compare A B\n")
