import contextlib
import importlib.util
import io
import json

import pytest
import torch
from PIL import Image

from dprd_cli import cli

TINY = ["--image-size", "64x96", "--repetitions", "1"]


def report(capsys, *arguments):
    assert cli.run(["benchmark", *arguments, *TINY, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def check(content, programs):
    assert set(content["machine"]) >= {"date", "processor", "device", "threads", "python", "versions"}
    assert content["machine"]["versions"]["torch"]
    assert list(content["programs"]) == programs
    for program in content["programs"].values():
        assert program["median_s"] == program["min_s"] == program["max_s"] == program["seconds"][0] > 0
    for row in content["rows"]:
        assert row["value"] > 0
        assert row["met"] == (
            row["value"] >= row["target"] if row["at_least"] else row["value"] <= row["target"]
        )


def test_inference_of_dprd_over_mask_rcnn(capsys):
    content = report(
        capsys, "inference", "--against", "mask-rcnn", "--preset", "dprd-small", "--proposals", "10"
    )
    check(content, ["3x3 convolution", "mask-rcnn-small", "dprd-small"])
    base, ours = (content["programs"][name] for name in ("mask-rcnn-small", "dprd-small"))
    assert base["gmac"] < ours["gmac"]
    assert ours["gmac_per_s"] == pytest.approx(ours["gmac"] / ours["median_s"])
    (row,) = content["rows"]
    assert row["value"] == pytest.approx(ours["median_s"] / base["median_s"])
    assert row["target"] == pytest.approx(1.1 * ours["gmac"] / base["gmac"])


def test_in_bfloat16_both_networks_are(capsys):
    options = ["--against", "mask-rcnn", "--preset", "dprd-small", "--proposals", "10", "--precision", "bf16"]
    content = report(capsys, "inference", *options)
    check(content, ["3x3 convolution", "dprd-small in float32", "mask-rcnn-small", "dprd-small"])
    assert content["settings"]["precision"] == "bf16"
    over, faster = content["rows"]
    assert (over["against"], faster["against"]) == ("mask-rcnn-small", "dprd-small in float32")
    times = {name: program["median_s"] for name, program in content["programs"].items()}
    assert over["value"] == pytest.approx(times["dprd-small"] / times["mask-rcnn-small"])
    assert faster["value"] == pytest.approx(times["dprd-small in float32"] / times["dprd-small"])
    assert (faster["target"], faster["at_least"]) == (1.6, True)
    macs = {name: program["gmac"] for name, program in content["programs"].items()}
    assert macs["dprd-small in float32"] == macs["dprd-small"] > macs["mask-rcnn-small"]


def test_what_is_measured_in_float32_only_says_so(capsys):
    assert cli.run(["benchmark", "paste", "--precision", "bf16"]) == 2
    assert "--precision bf16: paste is measured in float32" in capsys.readouterr().err


@pytest.mark.slow
def test_in_bfloat16_torchvision_is_timed_in_both(capsys):
    content = report(capsys, "inference", "--proposals", "50", "--precision", "bf16")
    check(content, ["3x3 convolution", "torchvision in float32", "torchvision", "dprd-cli"])
    assert content["same_answers"] is None
    assert content["answers"].startswith("answers are compared in float32")
    rows = {row["against"]: row["target"] for row in content["rows"]}
    assert list(rows.items())[:2] == [("torchvision", 2), ("torchvision in float32", 8)]
    times = {name: program["median_s"] for name, program in content["programs"].items()}
    for row in content["rows"][:2]:
        assert row["value"] == pytest.approx(times[row["against"]] / times["dprd-cli"])


def test_training_of_dprd_over_mask_rcnn(capsys):
    content = report(capsys, "train", "--against", "mask-rcnn", "--preset", "dprd-small", "--batch-size", "1")
    check(content, ["mask-rcnn-small", "dprd-small"])
    assert content["rows"][0]["target"] == 1.45
    assert content["settings"]["batch"] == 1
    base, ours = (content["programs"][name]["device"] for name in ("mask-rcnn-small", "dprd-small"))
    for work in (base, ours):
        assert work["launches"] == sum(work["launches_at"].values())
        assert work["waits"] == sum(work["waits_at"].values())
    assert base["launches"] < ours["launches"]
    assert base["gmac"] < ours["gmac"]


@pytest.mark.slow
def test_inference_finds_what_torchvision_finds(capsys):
    content = report(capsys, "inference", "--proposals", "50")
    check(content, ["3x3 convolution", "torchvision", "dprd-cli"])
    assert content["same_answers"] is True
    assert content["programs"]["torchvision"]["gmac"] == content["programs"]["dprd-cli"]["gmac"]
    assert [row["target"] for row in content["rows"]] == [1.8, 80]


def test_roialign_has_torchvision_s_values(capsys):
    content = report(capsys, "roialign", "--proposals", "20")
    names = [
        f"{name}, {part}" for part in ("forward", "forward+backward") for name in ("torchvision", "dprd-cli")
    ]
    check(content, names)
    assert content["same_answers"] is True
    assert [row["target"] for row in content["rows"]] == [10, 8]


def test_evaluation_has_pycocotools_numbers(capsys):
    content = report(capsys, "eval", "--images", "4")
    check(content, ["pycocotools", "dprd-cli"])
    assert content["same_answers"] is True
    assert content["settings"]["detections"] == 200


def test_pasting(capsys):
    content = report(capsys, "paste")
    check(content, ["torchvision's paste + pycocotools' encode", "dprd-cli"])
    assert "mean IoU" in content["answers"]


@pytest.fixture
def as_here(monkeypatch):
    """Run what would be a process of its own here: a start takes seconds."""
    from dprd_cli.benchmark import data_check, prediction

    def run_here(command, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            assert cli.run(command) == 0
        return output.getvalue()

    monkeypatch.setattr(prediction, "run_dprd", run_here)
    monkeypatch.setattr(data_check, "run_dprd", run_here)


def test_predict_over_its_network(capsys, as_here, tmp_path):
    content = report(capsys, "predict", "--images", "3", "--batch-size", "2")
    check(content, ["the network alone", "dprd predict"])
    assert content["same_answers"] is True
    assert content["settings"] == {
        "images": 3, "kind": "generated images of 64x96", "weights": "demo", "batch": 2,
    }  # fmt: skip
    assert content["rows"][0]["target"] == 1.15
    Image.new("RGB", (70, 60), "red").save(tmp_path / "a.png")
    content = report(capsys, "predict", "--folder", str(tmp_path))
    assert (content["settings"]["images"], content["settings"]["kind"]) == (1, "photographs of one's own")
    (tmp_path / "a.png").write_text("broken")
    assert cli.run(["benchmark", "predict", "--folder", str(tmp_path)]) == 3
    assert "a.png: not an image that is read here" in capsys.readouterr().err


def test_check_over_decoding(capsys, as_here):
    content = report(capsys, "check", "--images", "10")
    check(content, ["reading and decoding alone", "dprd data check"])
    assert content["same_answers"] is True
    assert content["answers"] == "10 of 10 images decoded; generated images of 64x96"
    assert content["rows"][0]["target"] == 1.2


def test_tables_and_markdown_name_every_row(capsys):
    assert cli.run(["benchmark", "paste", *TINY]) == 0
    out = capsys.readouterr().out
    for word in ("median", "measured", ">= 4.00x", "threads", "mean IoU"):
        assert word in out
    assert cli.run(["benchmark", "paste", *TINY, "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| what | against | measured | target | |" in out
    assert "| paste and run lengths of 100 masks, 64x96 |" in out


def test_all_goes_on_after_what_cannot_run(capsys, monkeypatch):
    from dprd_cli.benchmark import table
    from dprd_cli.errors import UserError

    paste = table.paste

    def run(kind, settings, progress):
        if kind != "paste":
            raise UserError(f"no {kind} here")
        return paste((64, 96), 2, 1, progress)

    monkeypatch.setattr(table, "run", run)
    assert cli.run(["benchmark", "all", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [found["benchmark"] for found in content["reports"]] == ["paste"]
    assert len(content["missing"]) == 11
    assert content["missing"][0] == "inference against torchvision: no inference here"


def test_threads_are_set(capsys):
    before = torch.get_num_threads()
    try:
        assert report(capsys, "paste", "--threads", "1")["machine"]["threads"] == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speed"], "unknown benchmark 'speed'"),
        (["inference", "--against", "torchvison"], "(did you mean 'torchvision'?)"),
        (["inference", "--against", "mask-rcnn", "--preset", "dprdd"], "(did you mean 'dprd'?)"),
        (["paste", "--image-size", "9x9"], "--image-size 9x9: expected HEIGHTxWIDTH"),
        (["paste", "--compile"], "--compile: paste has no network to compile"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    assert cli.run(["benchmark", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is not None, reason="Detectron2 is here")
def test_without_detectron2(capsys):
    assert cli.run(["benchmark", "inference", "--against", "detectron2", *TINY]) == 2
    assert "Detectron2 is not installed here; build it" in capsys.readouterr().err
