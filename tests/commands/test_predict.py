import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from dprd_cli.cli import run
from dprd_cli.config.presets import resolve
from dprd_cli.drawing.parts import part_colors
from dprd_cli.inference.video import VideoFile
from dprd_cli.inference.writer import PredictionWriter
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import visible

SMALL = (
    "model.neck.channels=16",
    "model.rpn.post_nms_test=20",
    "model.test.detections_per_image=4",
    "data.test_min_size=64",
)


def save_model(path, preset="cascade-dprd-small", with_masks=True, more=()):
    torch.manual_seed(0)
    config = resolve(preset=preset, overrides=(*SMALL, *more))
    detector = build_detector(config.model, num_classes=2, with_masks=with_masks)
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog"],
        "category_ids": [3, 7],
        "with_masks": with_masks,
        "model": detector.state_dict(),
        "step": 7,
    }
    save_checkpoint(path, payload)
    return str(path)


def save_image(path, seed=0, size=(60, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("weights") / "tiny.pt")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "in" / "285.png")
    save_image(tmp_path / "in" / "17.jpg", 1, (90, 70))
    return tmp_path / "in"


def test_images_coco_results_and_csv(images, weights, capsys):
    code = run(["predict", "in", "--weights", weights, "--save-parts", "--score-thresh", "0", "--out", "out"])
    output, errors = capsys.readouterr()
    assert (code, output) == (0, "")
    assert f"checkpoint: {weights} (step 7)" in errors
    assert "results: 2 annotated images, results.json, images.json, results.csv in out/" in errors
    out = images.parent / "out"
    assert visible(out) == [
        "17.jpg",
        "285.png",
        "images.json",
        "results.csv",
        "results.json",
    ]
    drawn = np.asarray(Image.open(out / "285.png"))
    assert drawn.shape == (600, 800, 3)
    assert (drawn == np.array(part_colors(4)[2])).all(axis=-1).any()
    images = json.loads((out / "images.json").read_text())
    assert [(row["id"], row["file_name"]) for row in images] == [(17, "in/17.jpg"), (285, "in/285.png")]
    records = json.loads((out / "results.json").read_text())
    assert {record["category_id"] for record in records} <= {3, 7}
    assert all(len(record["part_boxes"]) == 4 for record in records)
    assert all(len(record["part_shares"]) == len(record["part_falls"]) == 5 for record in records)
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert len(rows) == len(records) > 0
    told = [float(rows[0][f"{name}_share"]) for name in ("part1", "part2", "part3", "part4", "whole")]
    assert told == records[0]["part_shares"]
    assert float(rows[0]["whole_fall"]) == records[0]["part_falls"][4]
    truth = COCO()  # the results load as COCO results
    truth.dataset = {"images": images, "annotations": [], "categories": [{"id": 3}, {"id": 7}]}
    truth.createIndex()
    assert len(truth.loadRes(str(out / "results.json")).anns) == len(records)


def test_results_keep_what_is_not_drawn(images, weights):
    assert run(["predict", "in/285.png", "--weights", weights, "--score-thresh", "1", "--out", "out"]) == 0
    assert json.loads((images.parent / "out" / "results.json").read_text())
    plain = Image.open("in/285.png").resize((800, 600), Image.Resampling.BICUBIC)
    drawn = np.asarray(Image.open("out/285.png")).astype(int)
    assert np.abs(drawn - np.asarray(plain)).mean() < 8  # enlarged, nothing on it


def found_by(weights, capsys, *options):
    """Return the classes, scores and boxes that the command finds in an image, best first."""
    assert (
        run(["predict", "in/285.png", "--weights", weights, "--save", "coco", "--overwrite", *options]) == 0
    )
    capsys.readouterr()
    records = json.loads(Path("predictions/results.json").read_text())
    return [(row["category_name"], row["score"], row["bbox"]) for row in records]


def test_what_is_detected_can_be_chosen(images, weights, capsys):
    usual = found_by(weights, capsys)
    assert len(usual) == 4  # model.test.detections_per_image
    for wanted in ("dog", "7"):
        dogs = found_by(weights, capsys, "--classes", wanted)
        assert {name for name, *_ in dogs} == {"dog"}
        assert len(dogs) == 4  # others take no room
    assert found_by(weights, capsys, "--classes", "dog,cat") == usual
    assert found_by(weights, capsys, "--max-detections", "2") == usual[:2]
    assert len(found_by(weights, capsys, "--max-det", "9", "--nms-iou", "0.9")) == 9
    one = found_by(weights, capsys, "--iou", "0", "--class-agnostic-nms")
    assert len(one) <= len(usual)
    assert one != usual
    assert found_by(weights, capsys, "--image-size", "96") != usual
    assert found_by(weights, capsys, "--image-size", "96", "--set", "data.test_min_size=64") == usual
    assert run(["predict", "in/285.png", "--weights", weights, "--classes", "bird"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "error: --classes bird: no such class; the detector knows cat (3), dog (7)"


def test_quiet_tells_nothing_but_errors(images, weights, capsys):
    assert run(["predict", "in", "--weights", weights, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["predict", "gone", "--weights", weights, "-q"]) == 3
    assert capsys.readouterr() == ("", "error: gone: no such file or folder; check the path\n")
    assert run(["predict", "in", "--weights", weights, "-q", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["errors"] == []
    assert err == ""


def test_verbose_tells_how_it_was_done(images, weights, capsys):
    assert run(["predict", "in", "--weights", weights, "-v"]) == 0
    told = capsys.readouterr().err
    assert "detector: cascade-dprd-small, r10, 2 classes, " in told
    assert "\n2 images in " in told


def test_json_is_one_document_on_stdout(images, weights, capsys):
    code = run(["predict", "in", "--weights", weights, "--json", "--score-thresh", "0", "--no-masks"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (document["checkpoint"], document["out"], document["errors"]) == (weights, "predictions", [])
    assert [row["file"] for row in document["images"]] == ["in/17.jpg", "in/285.png"]
    assert document["images"][0]["objects"][0].keys() == {"class", "score", "box"}
    records = json.loads((images.parent / "predictions" / "results.json").read_text())
    assert "segmentation" not in records[0]


def test_unreadable_images_are_skipped_and_the_rest_is_done(images, weights, capsys):
    whole = (images / "17.jpg").read_bytes()
    (images / "3.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "4.jpg").write_text("not an image")
    code = run(["predict", "in", "--weights", weights, "--out", "out", "--json"])
    output, errors = capsys.readouterr()
    assert code == 3
    lines = errors.splitlines()
    assert (
        sum(line.startswith("skipped: in/3.jpg") or line.startswith("skipped: in/4.jpg") for line in lines)
        == 2
    )
    assert lines[-1] == "error: 2 of 4 images could not be read; the others are in out/"
    assert [row["file"] for row in json.loads(output)["errors"]] == ["in/3.jpg", "in/4.jpg"]
    assert {path.name for path in (images.parent / "out").glob("*.*g")} == {"17.jpg", "285.png"}


def test_equal_names_from_two_folders(images, weights):
    save_image(images.parent / "more" / "285.png", 5)
    assert run(["predict", "in/285.png", "more/285.png", "--weights", weights, "--out", "out"]) == 0
    images = json.loads((images.parent / "out" / "images.json").read_text())
    assert [(row["id"], row["drawing"]) for row in images] == [(1, "285.png"), (2, "285-2.png")]


def test_the_newest_run_is_the_default_and_is_named(images, capsys):
    save_model(images.parent / "runs" / "first" / "last.pt")
    assert run(["predict", "in/17.jpg"]) == 0
    assert "checkpoint: runs/first/last.pt (step 7)" in capsys.readouterr().err


def test_boxes_only_models_and_models_without_parts(images, capsys):
    boxes_only = save_model(images.parent / "b.pt", with_masks=False)
    assert run(["predict", "in", "--weights", boxes_only, "--save-parts"]) == 0
    plain = save_model(images.parent / "p.pt", preset="mask-rcnn-small")
    assert run(["predict", "in", "--weights", plain, "--save-parts"]) == 0
    assert "this model has no parts; --save-parts does nothing" in capsys.readouterr().err


def test_it_is_said_where_it_cannot_be_told_which_part_decided(images, weights, capsys):
    line = "which part decided is not told with --tta or --tile: merged detections come from many views"
    common = ["predict", "in/17.jpg", "--weights", weights, "--save", "csv"]
    assert run([*common, "--save-parts", "--tile", "64"]) == 0
    assert line in capsys.readouterr().err
    assert run([*common, "--tile", "64"]) == 0
    assert run([*common, "--save-parts"]) == 0
    assert line not in capsys.readouterr().err


def test_a_model_with_deformable_pooling(images, capsys):
    model = save_model(images.parent / "m.pt", more=("model.parts.mode=pooling",))
    assert run(["predict", "in", "--weights", model, "--save-parts"]) == 0
    assert "this model has no parts; --save-parts does nothing" in capsys.readouterr().err
    for command in (["predict", "in"], ["eval"]):
        assert run([*command, "--weights", model, "--part-offsets", "mean"]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"error: --part-offsets mean: {model}: no part boxes, the pooling bins shift "
            "(model.parts.mode=pooling); leave the option out"
        )


@pytest.mark.parametrize("kind", ["mean", "reference"])
def test_other_part_offsets(images, weights, kind):
    assert run(["predict", "in/17.jpg", "--weights", weights, "--part-offsets", kind]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.jpg"], 3, "error: nothing.jpg: no such file or folder; check the path"),
        (["empty"], 3, "error: empty: no images in this folder"),
        (["*.jpg"], 3, "error: *.jpg: no image matches"),
        (["in", "--weights", "nowhere.pt"], 1, "error: no such checkpoint: nowhere.pt"),
        (["in"], 1, "train one with `dprd train`, or pass --weights voc or demo"),
        (["in", "--part-offsets", "meen"], 2, "(did you mean 'mean'?)"),
        (["in", "--weights", "WEIGHTS", "--out", "in"], 2, "error: --out in: holds files that are read"),
        (["in", "--weights", "WEIGHTS", "--device", "tpu"], 2, "error: unknown device 'tpu'"),
        (["in", "--weights", "WEIGHTS", "--out", "in/17.jpg/x"], 5, "cannot create the folder"),
    ],
)
def test_mistakes_are_one_clear_line(images, weights, capsys, arguments, code, message):
    (images.parent / "empty").mkdir()
    assert run(["predict", *(weights if word == "WEIGHTS" else word for word in arguments)]) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors.splitlines()[-1]
    assert "Traceback" not in errors


@pytest.mark.parametrize("preset", ["mask-rcnn", "cascade-mrcnn", "dprd", "cascade-dprd"])
def test_multi_scale_testing_at_the_test_size_alone_is_plain_testing(images, preset):
    model = save_model(images.parent / f"{preset}.pt", preset=f"{preset}-small")
    common = ["predict", "in", "--weights", model, "--score-thresh", "0"]
    one = ["--tta", "--set", "data.tta_min_sizes=[64]", "--set", "data.tta_flip=false", "--batch-size", "2"]
    assert run([*common, "--out", "plain"]) == 0
    assert run([*common, *one, "--out", "one"]) == 0
    for name in ("results.json", "results.csv", "images.json", "17.jpg", "285.png"):
        assert (images.parent / "plain" / name).read_bytes() == (images.parent / "one" / name).read_bytes()
    parts = ["--save-parts", "--overwrite"]  # what decided is not known of merged detections
    assert run([*common, *parts, "--out", "plain"]) == run([*common, *one, *parts, "--out", "one"]) == 0
    plain, merged = (
        json.loads((images.parent / out / "results.json").read_text()) for out in ("plain", "one")
    )
    evidence = ("part_shares", "part_falls")
    assert [{k: v for k, v in row.items() if k not in evidence} for row in plain] == merged
    assert all(("part_boxes" in row) == ("dprd" in preset) for row in merged)


def test_multi_scale_testing(images, weights, capsys):
    flags = ["--weights", weights, "--tta", "--set", "data.tta_min_sizes=[48, 64]", "--json"]
    assert run(["predict", "in", *flags, "--score-thresh", "0", "--no-masks"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tta"] is True
    assert all(len(row["objects"]) == 4 for row in document["images"])
    records = json.loads((images.parent / "predictions" / "results.json").read_text())
    assert "segmentation" not in records[0]
    assert run(["predict", "in", *flags, "--set", "model.cascade.ious=[0.5]"]) == 2
    assert "only data.* keys can be set here" in capsys.readouterr().err


def test_tiles(images, weights, capsys):
    flags = ["--weights", weights, "--json", "--save", "none", "--score-thresh", "0"]
    found = []
    for tile in ([], ["--tile", "90"], ["--tile", "48", "--overlap", "0.3"]):
        assert run(["predict", "in", *flags, *tile]) == 0
        document = json.loads(capsys.readouterr().out)
        found.append((document["tile"], document["images"]))
    assert [tile for tile, _ in found] == [None, {"size": 90, "overlap": 0.2}, {"size": 48, "overlap": 0.3}]
    assert found[0][1] == found[1][1] != found[2][1]  # the images are of 80 x 60 and 70 x 90
    assert run(["predict", "in", *flags, "--tile", "8"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: --tile 8: expected at least 32 pixels"


def test_lists_and_kinds_of_output(images, weights, capsys):
    (images.parent / "names.txt").write_text("in/17.jpg\nin/gone.jpg\n")
    flags = ["--weights", weights, "--score-thresh", "0", "--out", "out"]
    assert run(["predict", "--list", "names.txt", *flags, "--save", "labelme,masks"]) == 3
    assert visible(images.parent / "out") == ["labelme", "masks"]
    assert "labelme file, " in capsys.readouterr().err
    assert run(["predict", "in", *flags[:-1], "none", "--save", "none", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["out"], document["results"]) == (None, [])
    assert not (images.parent / "none").exists()


def test_what_save_does_not_take(images, weights, capsys):
    for kinds in ("image", "images,none"):
        assert run(["predict", "in", "--weights", weights, "--save", kinds]) == 2
        assert "--save" in capsys.readouterr().err
    assert run(["predict", "--weights", weights]) == 2
    assert "nothing to look at" in capsys.readouterr().err


def test_a_video(images, weights, capsys):
    video = VideoFile(images / "clip.mp4", 10.0)
    for level in range(0, 200, 20):
        video.add(np.full((48, 64, 3), level, np.uint8))
    video.close()
    command = ["predict", "in/clip.mp4", "in/text.mp4", "--weights", weights, "--json", "--out", "out"]
    (images / "text.mp4").write_text("not a video")
    assert run([*command, "--frame-step", "4", "--max-frames", "2"]) == 3
    output, errors = capsys.readouterr()
    document = json.loads(output)
    assert [row["file"] for row in document["images"]] == ["in/clip.mp4#0", "in/clip.mp4#4"]
    assert [row["file"] for row in document["errors"]] == ["in/text.mp4"]
    assert "out/clip.mp4" in document["results"]
    assert errors.splitlines()[-1] == "error: 1 of 2 inputs could not be read; the others are in out/"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(("workers", "done"), [("0", 1), ("2", 2)])  # one is drawn behind the network
def test_a_signal_ends_it_after_the_images_at_hand(
    images, weights, capsys, monkeypatch, number, code, workers, done
):
    write = PredictionWriter.write
    for name in "abc":
        shutil.copy(images / "17.jpg", images / f"17{name}.jpg")

    def write_and_be_asked_to_stop(self, *arguments):
        if not self.done:
            signal.raise_signal(number)
        return write(self, *arguments)

    monkeypatch.setattr(PredictionWriter, "write", write_and_be_asked_to_stop)
    arguments = ["--weights", weights, "--json", "--out", "out", "--workers", workers]
    assert run(["predict", "in", *arguments]) == code
    output, errors = capsys.readouterr()
    document = json.loads(output)
    names = ["in/17.jpg", "in/17a.jpg"][:done]
    assert (document["interrupted"], [row["file"] for row in document["images"]]) == (True, names)
    assert [row["file_name"] for row in json.loads(Path("out/images.json").read_text())] == names
    assert sorted(f"in/{path.name}" for path in Path("out").glob("*.jpg")) == names
    count = {1: "1 image", 2: "2 images"}[done]
    assert errors.splitlines()[-1] == f"error: stopped; what was done is whole ({count})"
