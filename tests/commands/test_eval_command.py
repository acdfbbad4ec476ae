import json
from pathlib import Path

import pytest
import torch

from dprd_cli import cli
from dprd_cli.checkpoint import read_checkpoint, save_checkpoint
from dprd_cli.model.build import build_detector
from dprd_cli.presets import resolve

TINY = Path(__file__).parents[1] / "tiny.toml"
CLASSES = ("tadpole", "dumbbell", "flower", "fan", "lizard", "squid")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose detector was never trained, and finds something at any score."""
    folder = tmp_path_factory.mktemp("eval") / "run"
    folder.mkdir()
    config = resolve(config_file=TINY, overrides=["model.test.score_thresh=0.0"])
    torch.manual_seed(0)
    detector = build_detector(config.model, num_classes=6, with_masks=True)
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": list(CLASSES),
        "category_ids": [1, 2, 3, 4, 5, 6],
        "with_masks": True,
        "model": detector.state_dict(),
        "step": 3,
    }
    save_checkpoint(folder / "best.pt", payload)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_tables_and_results_file(run, capsys):
    assert cli.run(["eval", "--weights", str(run)]) == 0
    out, err = capsys.readouterr()
    words = [line.split() for line in out.splitlines() if line.split()]
    assert words[0] == ["AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100"]
    assert [row[0] for row in words if row[0] in ("box", "mask")] == ["box", "mask"]
    assert [row[0] for row in words if row[0] in CLASSES] == list(CLASSES)
    assert words[-1][:3] == ["proposal", "recall", "@0.5"]
    assert err.splitlines()[0] == f"checkpoint: {run}/best.pt (step 3)"
    assert err.splitlines()[-1] == f"results: {run}/eval_val.json"
    results = json.loads((run / "eval_val.json").read_text())
    assert results["images"] == 4
    assert results["step"] == 3
    assert results["split"] == "val"
    assert set(results["bbox"]) >= {"AP", "AP50", "AP75", "APS", "APM", "APL", "AR100"}
    assert [row["name"] for row in results["classes"]] == list(CLASSES)
    assert 0 <= results["recall50"] <= 1
    assert 0 < results["part_iou"] <= 1


def test_json_is_one_document_on_stdout(run, capsys, tmp_path):
    path = tmp_path / "sub" / "results.json"
    flags = ["--split", "train", "--limit", "3", "--part-offsets", "reference", "--json", "--out", str(path)]
    assert cli.run(["eval", "--weights", str(run), *flags]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads(path.read_text())
    assert (results["images"], results["split"], results["part_offsets"]) == (3, "train", "reference")
    assert results["part_iou"] == pytest.approx(1.0, abs=1e-4)  # parts that do not move


def test_data_written_as_coco_gives_the_same_numbers(run, capsys):
    size = ["--train", "1", "--val", "4", "--size", "64"]
    assert cli.run(["data", "synth", "set", *size]) == 0
    assert cli.run(["eval", "--weights", str(run), "--data", "set", "--out", "a.json"]) == 0
    assert cli.run(["eval", "--weights", str(run), "--out", "b.json"]) == 0
    capsys.readouterr()
    written, drawn = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert written["bbox"] == drawn["bbox"]
    assert written["segm"] == drawn["segm"]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--split", "tset"], 2, "unknown split 'tset'; there are: val, train"),
        (
            ["--part-offsets", "learnt"],
            2,
            "unknown kind of part offsets 'learnt' (did you mean 'learned'?); "
            "there are: learned, mean, reference",
        ),
        (["--weights", "gone"], 1, "no such checkpoint: gone; pass a file, a run folder, or 'demo'"),
        ([], 1, "no checkpoint in runs/; train one with `dprd train`, or pass --weights"),
    ],
)
def test_wrong_arguments(capsys, arguments, code, line):
    assert cli.run(["eval", *arguments]) == code
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_missing_data(run, capsys):
    assert cli.run(["eval", "--weights", str(run), "--data", "gone"]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: gone: no such data folder")


def test_a_checkpoint_of_other_classes_does_not_fit_the_data(run, capsys):
    content = read_checkpoint(run / "best.pt")
    names = ["squid", *CLASSES[:5]]
    save_checkpoint(Path("other.pt"), {**content, "class_names": names})
    assert cli.run(["eval", "--weights", "other.pt"]) == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: the built-in data has the classes tadpole, dumbbell")


def test_a_checkpoint_of_another_class_count(run, capsys):
    content = read_checkpoint(run / "best.pt")
    few = {**content, "class_names": list(CLASSES[:2]), "category_ids": [1, 2]}
    save_checkpoint(Path("few.pt"), few)
    assert cli.run(["eval", "--weights", "few.pt"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: few.pt: checkpoint of another model or class count (")


def test_pickled_code_is_refused(capsys):
    class Attack:
        def __reduce__(self):
            return Path.touch, (Path("trap"),)

    torch.save({"format": "dprd-checkpoint", "model": Attack()}, "evil.pt")
    assert cli.run(["eval", "--weights", "evil.pt"]) == 1
    assert capsys.readouterr() == ("", "error: evil.pt: contains pickled code; refused\n")
    assert not Path("trap").exists()
