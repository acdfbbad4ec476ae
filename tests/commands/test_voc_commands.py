"""Pascal VOC and YOLO folders through the command line: train, eval, predict, check."""

import json
from pathlib import Path

import pytest
import torch

import paths
from dprd_cli import cli

TINY = str(paths.TINY)
NO_WEIGHTS = ["--backbone-weights", "none", "--set", "model.test.score_thresh=0"]


@pytest.fixture(autouse=True)
def _one_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ran(*arguments):
    assert cli.run([str(argument) for argument in arguments]) == 0


def train(data, *arguments):
    ran("train", "--config", TINY, "--data", data, "--steps", 2, "--out", "run", *NO_WEIGHTS, *arguments)


def test_years_with_a_few_masks(devkit, capsys):
    train(devkit)
    out, err = capsys.readouterr()
    assert "5 images (1 without objects), 5 objects (1 with masks, 4 without)\n" in err
    assert "VOC07 mAP" in err
    assert [line.split()[0] for line in out.splitlines() if "-point" in line] == ["VOC07", "VOC"]
    results = json.loads(Path("run/results.json").read_text())
    assert set(results["voc"]) == {"11_point", "all_point", "classes"}

    ran("eval", "--weights", "run", "--data", devkit, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["voc"] == json.loads(Path("run/eval_val.json").read_text())["voc"] == results["voc"]
    assert [row["name"] for row in printed["voc"]["classes"] if row["objects"]] == ["cat", "dog"]

    # another folder, with masks to measure
    ran("eval", "--weights", "run", "--data", devkit / "VOC2012", "--split", "train", "--json")
    out, err = capsys.readouterr()
    assert f"train ({devkit / 'VOC2012'} 2012_train): 1 image (0 without objects), 1 object (all with" in err
    assert json.loads(out)["segm"]["AP"] is not None

    ran("predict", devkit / "VOC2007/JPEGImages/000001.jpg", "--weights", "run", "--out", "found", "--json")
    assert json.loads(capsys.readouterr().out)["images"][0]["file"].endswith("000001.jpg")
    row = json.loads(Path("found/results.json").read_text())[0]
    assert (row["image_id"], "segmentation" in row) == (1, True)
    assert 1 <= row["category_id"] <= 20
    names = {line.split(",")[2] for line in Path("found/results.csv").read_text().splitlines()[1:]}
    assert names <= {row["name"] for row in results["classes"]}


def test_boxes_only_of_a_users_own_classes(tmp_path, voc_folder, capsys):
    made = voc_folder(tmp_path / "parts")
    made.image("one", ("wheel", (5, 5, 34, 40))).image("two", ("bolt", (20, 10, 60, 45)))
    made.image("three", ("bolt", (5, 5, 34, 40))).lists(train="one two", val="three")
    train(made.path, "--schedule", "voc", "--set", "data.train_min_sizes=[64]")
    assert "boxes only, no masks" in capsys.readouterr().err
    ran("eval", "--weights", "run")
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith((" bolt", "bolt"))] == [
        ["bolt", "1"]
    ]
    assert " mask" not in out
    ran("predict", made.path / "JPEGImages", "--weights", "run", "--out", "found")
    assert "segmentation" not in json.loads(Path("found/results.json").read_text())[0]


def test_data_that_does_not_fit_the_checkpoint(devkit, tmp_path, voc_folder, capsys):
    train(devkit)
    other = voc_folder(tmp_path / "other").image("a", ("zebra", (5, 5, 34, 40))).lists(val="a")
    assert cli.run(["eval", "--weights", "run", "--data", str(other.path)]) == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {other.xml('a')}: object 1 is a 'zebra', which is not a class of the training data or "
        "checkpoint (aeroplane, bicycle, bird, boat, bottle, ...); use data with the same classes"
    )


def test_a_fault_ends_before_anything_is_written(devkit, capsys):
    xml = devkit / "VOC2007/Annotations/000005.xml"
    xml.write_text(xml.read_text().replace("<name>dog</name>", ""))
    arguments = ["train", "--config", TINY, "--data", str(devkit), "--out", "run", *NO_WEIGHTS]
    assert cli.run(arguments) == 3
    assert (
        capsys.readouterr().err.splitlines()[-1] == f"error: {xml}: object 1 has no <name>; correct the file"
    )
    assert not Path("run").exists()


def test_a_yolo_folder_is_trained_on_and_evaluated(capsys):
    ran("data", "synth", "set", "--train", 6, "--val", 2, "--size", 64)
    ran("data", "convert", "set", "yolo", "--to", "yolo")
    train("yolo")
    err = capsys.readouterr().err
    assert "train (yolo/data.yaml train): 6 images" in err
    assert "(all with masks)" in err
    ran("eval", "--weights", "run", "--data", "yolo", "--json")
    found = json.loads(capsys.readouterr().out)
    ran("eval", "--weights", "run", "--data", "yolo/data.yaml", "--json")
    assert json.loads(capsys.readouterr().out)["bbox"] == found["bbox"]
    assert sum(row["objects"] for row in found["classes"]) > 0


def test_check_of_a_devkit(devkit, capsys):
    ran("data", "check", devkit)
    out, err = capsys.readouterr()
    assert "(1 without objects), 5 objects in 20 classes (1 with masks), 1 difficult object\n" in out
    assert "note    4 objects without a mask among 1 with one" in out
    assert err.splitlines()[-1].startswith(f"{devkit} can be used: ")
    (devkit / "VOC2007/Annotations/000005.xml").write_text("")
    (devkit / "VOC2012/JPEGImages/2008_000002.jpg").write_bytes(b"")
    assert cli.run(["data", "check", str(devkit)]) == 3
    out = capsys.readouterr().out
    assert f"{devkit / 'VOC2007/Annotations/000005.xml'}: not XML (" in out
    assert f"{devkit / 'VOC2012/JPEGImages/2008_000002.jpg'}: the file is empty" in out
