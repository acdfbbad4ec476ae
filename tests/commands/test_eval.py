import json
import shutil
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.evaluation.coco import accumulate
from dprd_cli.model.build import build_detector
from dprd_cli.structures.detections import Detections
from dprd_cli.weights.checkpoint import read_checkpoint, save_checkpoint
from paths import TINY, visible

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


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_an_image_is_the_same_one_in_every_command(run, capsys, kind, tmp_path):
    """What `predict` finds is measured as what `eval` finds, whatever names and ids the data has."""
    assert cli.run(["data", "synth", "plain", "--train", "1", "--val", "3", "--size", "64"]) == 0
    tree = json.loads(Path("plain/val.json").read_text())
    for image, name in zip(tree["images"], ("10", "9", "7"), strict=True):
        path = Path("plain/images", image["file_name"])
        image["file_name"] = f"{name}.png"
        path.rename(path.with_name(image["file_name"]))
    Path("plain/val.json").write_text(json.dumps(tree))
    data = "plain"
    if kind != "coco":
        data = kind
        assert cli.run(["data", "convert", "plain", kind, "--to", kind]) == 0
    measure = ["eval", "--data", data, "--no-plots", "--json"]
    capsys.readouterr()
    assert cli.run([*measure, "--weights", str(run), "--out", "x.json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    images = [str(path) for name in ("10", "9", "7") for path in Path(data).rglob(f"*{name}.png")]
    images = [name for name in images if "SegmentationObject" not in name]
    assert cli.run(["predict", *images, "--weights", str(run), "--save", "coco", "--no-masks"]) == 0
    capsys.readouterr()
    assert cli.run([*measure, "--results", "predictions/results.json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["bbox"]) == (3, expected["bbox"])


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (
            ["--split", "tset"],
            2,
            "unknown split 'tset' (did you mean 'test-dev'?); there are: val, train, test-dev",
        ),
        (
            ["--part-offsets", "learnt"],
            2,
            "unknown kind of part offsets 'learnt' (did you mean 'learned'?); "
            "there are: learned, mean, reference",
        ),
        (
            ["--weights", "gone"],
            1,
            "no such checkpoint: gone; pass a file, a run folder, or one of: voc, demo, demo-cascade-mrcnn",
        ),
        (
            [],
            1,
            "no checkpoint in runs/; train one with `dprd train`, or pass --weights voc or demo",
        ),
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


def test_multi_scale_testing_at_the_test_size_alone_is_plain_testing(run, capsys):
    one = ["--set", "data.tta_min_sizes=[64]", "--set", "data.tta_flip=false", "--tta", "--json"]
    assert cli.run(["eval", "--weights", str(run), "--limit", "1", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert cli.run(["eval", "--weights", str(run), "--limit", "1", *one]) == 0
    out, err = capsys.readouterr()
    merged = json.loads(out)
    assert err.splitlines()[-1] == f"results: {run}/eval_val_tta.json"
    assert (plain["tta"], merged["tta"]) == (False, True)
    assert merged["recall50"] is None
    for key in ("bbox", "segm", "classes", "part_iou"):
        assert merged[key] == plain[key], key


def test_multi_scale_testing_of_several_sizes(run, capsys):
    flags = ["--limit", "2", "--tta", "--set", "data.tta_min_sizes=[48, 64]", "--part-offsets", "mean"]
    assert cli.run(["eval", "--weights", str(run), *flags]) == 0
    out, err = capsys.readouterr()
    assert "proposal recall" not in out
    assert err.splitlines()[-1] == f"results: {run}/eval_val_mean_tta.json"


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        (
            "data.tta_min_size=[64]",
            "--set data.tta_min_size=[64]: no config key 'data.tta_min_size' "
            "(did you mean 'data.tta_min_sizes'?)",
        ),
        (
            "model.test.nms_iou=0.3",
            "--set model.test.nms_iou=0.3: the checkpoint fixes this; only data.* keys can be set here",
        ),
        ("data.tta_min_sizes=[0]", "config: data.tta_min_sizes.0 = 0: Input should be greater than 0"),
    ],
)
def test_only_data_can_be_set(run, capsys, pair, line):
    assert cli.run(["eval", "--weights", str(run), "--set", pair]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {line}"


NAME = "detections_test-dev2017_cascade-dprd-small_results"
KINDS = ("bbox", "segm")


@pytest.fixture
def unlabelled(tmp_path):
    """Four images in COCO's layout, with other category ids than the checkpoint's, one class more."""
    assert cli.run(["data", "synth", "set", "--train", "1", "--val", "4", "--size", "64"]) == 0
    tree = json.loads(Path("set/val.json").read_text())
    del tree["annotations"]
    tree["categories"] = [{**row, "id": 10 * row["id"]} for row in tree["categories"]]
    tree["categories"].append({"id": 5, "name": "unseen"})
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(tree))
    shutil.copytree("set/images", folder / "test2017")
    return tree


def loaded(tree, path):
    truth = COCO()
    truth.dataset = {**tree, "annotations": []}
    truth.createIndex()
    return truth.loadRes(str(path)).dataset["annotations"]


@pytest.mark.parametrize("tta", [[], ["--tta", "--set", "data.tta_min_sizes=[64, 80]"]])
def test_test_dev_writes_the_servers_files(run, unlabelled, capsys, tta):
    capsys.readouterr()
    assert (
        cli.run(["eval", "--weights", str(run), "--split", "test-dev", "--data", "coco", "--overwrite", *tta])
        == 0
    )
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert "test-dev has no annotations: nothing is measured here, the evaluation server does it" in lines
    paths = [run / "test-dev" / kind / f"{NAME}.{ending}" for kind in KINDS for ending in ("json", "zip")]
    assert lines[-1] == f"results: {', '.join(map(str, paths))}"
    for kind in KINDS:
        rows = loaded(unlabelled, run / "test-dev" / kind / f"{NAME}.json")
        assert len(rows) > 0
        assert {row["category_id"] for row in rows} <= {10, 20, 30, 40, 50, 60}
        assert max(Counter(row["image_id"] for row in rows).values()) <= 10
        with zipfile.ZipFile(run / "test-dev" / kind / f"{NAME}.zip") as archive:
            assert archive.namelist() == [f"{NAME}.json"]


def test_test_dev_finds_what_the_plain_evaluation_finds(run, unlabelled, capsys):
    assert (
        cli.run(["eval", "--weights", str(run), "--split", "test-dev", "--data", "coco", "--out", "a"]) == 0
    )
    val = json.loads(Path("set/val.json").read_text())
    for row in (*val["categories"], *val["annotations"]):
        key = "id" if "name" in row else "category_id"
        row[key] *= 10
    rows = loaded(unlabelled, f"a/bbox/{NAME}.json")
    ids = tuple(10 * n for n in range(1, 7))
    arrays = accumulate(val, rows, "bbox", image_ids=[row["id"] for row in val["images"]], category_ids=ids)
    capsys.readouterr()
    assert cli.run(["eval", "--weights", str(run), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["bbox"]
    assert measured["AR100"] == pytest.approx(100 * arrays.stats[8], abs=0.5)  # rounded boxes


def test_test_dev_as_json_with_a_limit(run, unlabelled, capsys):
    capsys.readouterr()
    flags = ["--split", "test-dev", "--data", "coco", "--out", "sub/mit", "--limit", "2", "--json"]
    assert cli.run(["eval", "--weights", str(run), *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["split"], document["images"], document["tta"]) == ("test-dev", 2, False)
    assert document["files"] == [f"sub/mit/{k}/{NAME}.{ending}" for k in KINDS for ending in ("json", "zip")]
    assert document["detections"] == len(json.loads(Path(document["files"][0]).read_text()))


def test_test_dev_without_masks(run, unlabelled, capsys):
    content = read_checkpoint(run / "best.pt")
    model = {key: value for key, value in content["model"].items() if ".mask_" not in key}
    save_checkpoint(Path("boxes.pt"), {**content, "with_masks": False, "model": model})
    capsys.readouterr()
    assert cli.run(["eval", "--weights", "boxes.pt", "--split", "test-dev", "--data", "coco"]) == 0
    assert "this model predicts no masks: only bbox results are written" in capsys.readouterr().err
    assert visible("test-dev") == ["bbox"]


def test_test_dev_mistakes(run, unlabelled, capsys, monkeypatch):
    def fails(*flags):
        capsys.readouterr()
        code = cli.run(["eval", "--weights", str(run), "--split", "test-dev", *flags])
        output, errors = capsys.readouterr()
        assert output == ""
        assert "Traceback" not in errors
        return code, errors.splitlines()[-1]

    code, line = fails("--data", "set")
    assert code == 3
    assert line.startswith("error: set: no annotation file of the test split; add ")
    code, line = fails()
    assert (code, line) == (
        3,
        "error: no test annotation file: pass --set data.test_json=FILE, or --data FOLDER that holds both",
    )
    Path("file").write_text("")
    assert fails("--data", "coco", "--out", "file") == (2, "error: --out file: a file; choose a folder")
    path = Path("coco/annotations/image_info_test-dev2017.json")
    path.write_text(json.dumps({**unlabelled, "categories": [{"id": 1, "name": "cat"}]}))
    code, line = fails("--data", "coco")
    assert code == 3
    assert line.startswith(
        f"error: {path}: no category 'tadpole', which is a class of the checkpoint (6 such)"
    )
    path.write_text(json.dumps(unlabelled))
    resize = Detections.resize

    def bad(self, size):
        return replace(resize(self, size), scores=self.scores + 2)

    monkeypatch.setattr(Detections, "resize", bad)
    code, line = fails("--data", "coco", "--out", "bad")
    assert code == 1
    assert line.startswith("error: bbox results: image ")
    assert line.endswith("is not in 0..1; nothing was written")
    assert not Path("bad").exists()
