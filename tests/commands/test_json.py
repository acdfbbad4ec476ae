"""Every command with `--json`: one document on stdout, nothing else; and the exit code of a mistake."""

import json
from pathlib import Path

import pytest
import torch

from command_tree import LEAVES, flags_of
from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.data.synthetic.write import write_coco
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import TINY
from tool_exports import export, lone_json

IMAGE = "data/images/val_000000.png"

#: Command -> (arguments that work, keys of the document).
WORKING = {
    "eval": (["--weights", "run", "--limit", "1"], {"checkpoint", "bbox", "segm", "classes"}),
    "predict": ([IMAGE, "--weights", "run"], {"checkpoint", "images", "errors", "results"}),
    "visualize-parts": ([IMAGE, "--weights", "run"], {"checkpoint", "files", "classes"}),
    "gradcam": ([IMAGE, "--weights", "run", "--score-thresh", "0", "--max-objects", "1"], {"images"}),
    "ablate": (["table1", "--dry-run", "--size", "small", "--backbone", "r10"], {"studies"}),
    "benchmark": (
        ["roialign", "--proposals", "5", "--image-size", "64x96", "--repetitions", "1"],
        {"machine", "programs", "rows"},
    ),
    "export": (
        ["run", "--format", "torch-export", "--image-size", "64x64", "--batch", "1"],
        {"checkpoint", "out", "metadata", "check"},
    ),
    "report": (["run", "--no-eval"], {"report", "runs"}),
    "parity": (["fixture.json"], {"fixture", "ok", "differences"}),
    "info": (["--preset", "dprd-small", "--image-size", "64x64"], {"parameters", "macs"}),
    "env": ([], {"dprd", "python", "packages", "problems"}),
    "config show": (["run"], {"preset", "schedule", "values"}),
    "config diff": (["run", "dprd"], {"first", "second", "differences"}),
    "config schema": ([], {"$schema", "$defs", "properties"}),
    "data check": (["data"], {"usable", "splits"}),
    "data show": (["data", "--limit", "1"], {"files"}),
    "data stats": (["data"], {"splits", "files"}),
    "data convert": (["data", "new", "--to", "yolo"], {"source", "target", "format"}),
    "data split": (["lone_json", "divided"], {"source", "target", "images"}),
    "data synth": (["made", "--train", "1", "--val", "1", "--size", "64"], {"path", "splits"}),
    "weights list": ([], {"folder", "weights"}),
    "weights fetch": (["torchvision:maskrcnn_resnet50_fpn"], {"name", "path"}),
    "weights show": (["run"], {"file", "classes", "origin"}),
    "weights pack": (["run", "given"], {"folder", "files"}),
    "weights push": (["packed", "org/name", "--dry-run"], {"repository", "files"}),
}
#: Commands whose document says what is wrong.
TELLING = {"data check"}
#: Command -> (a mistake, the exit code); `train` has its `--json` tested with its other options.
FAILING = {
    "train": (["--data", "gone"], 3),
    "eval": (["--weights", "run", "--data", "gone"], 3),
    "predict": (["gone.png", "--weights", "run"], 3),
    "visualize-parts": (["gone.png", "--weights", "run"], 3),
    "gradcam": (["gone.png", "--weights", "run"], 3),
    "ablate": (["table1", "--data", "gone"], 3),
    "benchmark": (["nothing"], 2),
    "export": (["gone"], 1),
    "report": (["gone"], 1),
    "parity": (["gone.json"], 3),
    "info": (["--preset", "dprt"], 2),
    "env": (["machine"], 2),
    "config show": (["dprt"], 2),
    "config diff": (["dprd", "dprt"], 2),
    "config schema": (["dprd"], 2),
    "data check": (["gone"], 3),
    "data show": (["gone"], 3),
    "data stats": (["gone"], 3),
    "data convert": (["gone", "other", "--to", "voc"], 3),
    "data split": (["gone", "other"], 3),
    "data synth": (["data"], 2),
    "weights list": (["all"], 2),
    "weights fetch": (["torchvision:nothing"], 2),
    "weights show": (["gone.pt"], 1),
    "weights pack": (["gone.pt", "given"], 1),
    "weights push": (["gone", "org/name", "--dry-run"], 1),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set, a run and an image."""
    folder = tmp_path_factory.mktemp("json")
    for split in ("train", "val"):
        write_coco(SyntheticDataset(split, 1, 64, 0), folder / "data")
    export(lone_json, folder)
    config = resolve(
        config_file=TINY, overrides=["model.test.score_thresh=0", "model.test.detections_per_image=1"]
    )
    torch.manual_seed(0)
    names = SyntheticDataset("val", 1, 64, 0).class_names
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": list(names),
        "category_ids": list(range(1, len(names) + 1)),
        "with_masks": True,
        "model": build_detector(config.model, num_classes=len(names), with_masks=True).state_dict(),
        "step": 3,
    }
    (folder / "run").mkdir()
    save_checkpoint(folder / "run" / "best.pt", payload)
    assert cli.run(["weights", "pack", str(folder / "run"), str(folder / "packed")]) == 0
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)


def test_every_command_is_here_and_has_the_option():
    assert LEAVES.keys() == WORKING.keys() | {"train"} == FAILING.keys()
    assert [name for name in WORKING if "--json" not in flags_of(LEAVES[name])] == []


@pytest.mark.parametrize("command", WORKING)
def test_one_document_on_stdout(command, capfd, monkeypatch):
    monkeypatch.setattr("dprd_cli.weights.fetch.fetch", lambda *_: Path("weights.pth"))
    monkeypatch.setattr("dprd_cli.benchmark.parity.compare", lambda _: [])
    arguments, keys = WORKING[command]
    assert cli.run([*command.split(), *arguments, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)  # fails if there is anything else
    assert keys <= document.keys()


@pytest.mark.parametrize("command", FAILING)
def test_a_mistake_has_its_exit_code_and_one_line_on_stderr(command, capfd):
    arguments, code = FAILING[command]
    more = ["--json"] if command != "train" else []
    assert cli.run([*command.split(), *arguments, *more]) == code
    out, err = capfd.readouterr()
    assert out == "" or (command in TELLING and json.loads(out))
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ")
