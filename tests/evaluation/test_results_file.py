"""A results file's numbers are those that pycocotools gives for the same file."""

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dprd_cli import cli
from dprd_cli.data.formats.coco import CocoAnnotations
from dprd_cli.data.formats.problems import Problems
from dprd_cli.errors import DataError
from dprd_cli.evaluation.coco import METRICS
from dprd_cli.evaluation.results_file import collect_results, read_results

DATA = (
    Path(os.environ.get("DPRD_DATA_DIR", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
    / "coco"
)
needs_photographs = pytest.mark.skipif(not DATA.is_dir(), reason=f"no photographs at {DATA} (DPRD_DATA_DIR)")


def noisy_results(truth, keys):
    """Detections made of the ground truth: shifted, missed, of wrong classes, with random scores."""
    rng = np.random.default_rng(0)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    rows = []
    for note in truth["annotations"]:
        if rng.random() < 0.2:
            continue
        height, width = sizes[note["image_id"]]
        shift = int(rng.integers(0, 8))
        segmentation = note["segmentation"]
        rles = coco_mask.frPyObjects(segmentation, height, width)
        mask = coco_mask.decode(coco_mask.merge(rles) if isinstance(rles, list) else rles)
        rle = coco_mask.encode(np.asfortranarray(np.roll(mask, shift, axis=1)))
        row = {
            "image_id": note["image_id"],
            "category_id": int(rng.choice(categories)) if rng.random() < 0.1 else note["category_id"],
            "score": round(float(rng.random()), 3),
            "bbox": [note["bbox"][0] + shift, *note["bbox"][1:]],
            "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
        }
        rows.append({key: row[key] for key in ("image_id", "category_id", "score", *keys)})
    return rows


def reference(path, truth_path, kind):
    """Return pycocotools' stats of the file."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(truth_path)
        evaluation = COCOeval(truth, truth.loadRes(str(path)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@needs_photographs
@pytest.mark.parametrize("keys", [("bbox",), ("segmentation",), ("bbox", "segmentation")], ids="+".join)
def test_the_numbers_are_pycocotools(tmp_path, capsys, keys):
    """With crowds, images without objects, and classes that the split lacks."""
    truth_path = DATA / "val.json"
    truth = json.loads(truth_path.read_text())
    assert any(note["iscrowd"] for note in truth["annotations"])
    assert {note["image_id"] for note in truth["annotations"]} < {image["id"] for image in truth["images"]}
    assert len({note["category_id"] for note in truth["annotations"]}) < len(truth["categories"])
    path = tmp_path / "results.json"
    path.write_text(json.dumps(noisy_results(truth, keys)))
    assert cli.run(["eval", "--results", str(path), "--data", str(DATA), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for kind in ("bbox", *(["segm"] if "segmentation" in keys else [])):
        expected = dict(zip(METRICS, 100 * reference(path, truth_path, kind), strict=True))
        assert found[kind] == expected


@pytest.fixture
def truth(tmp_path):
    """One image of 10 x 8 with one object."""
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 10, "height": 8}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
        ],
    }
    (tmp_path / "val.json").write_text(json.dumps(content))
    return CocoAnnotations(tmp_path / "val.json", tmp_path).read(Problems())


LARGER = coco_mask.encode(np.ones((100, 100), dtype=np.uint8, order="F"))["counts"].decode()
ROW = {"image_id": 7, "category_id": 3, "score": 0.5, "bbox": [1, 1, 4, 4]}


def test_a_perfect_detection(tmp_path, truth):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([ROW]))
    result = collect_results(read_results(path, truth).rows, truth, (3,), ("cat",)).summarize()
    assert result.bbox["AP50"] == pytest.approx(100)
    assert result.segm is None


def test_no_detection_at_all(tmp_path, truth):
    path = tmp_path / "results.json"
    path.write_text("[]")
    assert collect_results(read_results(path, truth).rows, truth, (3,), ("cat",)).summarize().bbox["AP"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("{}", "not a COCO results file"),
        (json.dumps([ROW, {**ROW, "image_id": 8}]), "detection 1: image_id 8 is not in the annotations"),
        (
            json.dumps([{**ROW, "category_id": 1}]),
            r"all detections are of categories that .* lack \(1\); cat",
        ),
        (json.dumps([{**ROW, "category_id": "1"}]), "detection 0: category_id '1' is not in the annotations"),
        (json.dumps([{**ROW, "bbox": []}]), "bbox needs four finite numbers"),
        (json.dumps([{**ROW, "file_name": "b.png"}]), "its image 'b.png' is not in the annotations"),
        (json.dumps([ROW, {**ROW, "image_id": "a"}]), "image ids 7 and 'a' are the same image"),
        (json.dumps([{**ROW, "bbox": [1, 1, 4]}]), "bbox needs four finite numbers"),
        (json.dumps([{**ROW, "score": float("nan")}]), "bbox needs four finite numbers"),
        (json.dumps([{"image_id": 7, "category_id": 3, "score": 1}]), "no bbox or segmentation"),
        (json.dumps([{"bbox": [0, 0, 1, 1]}]), "no image_id, category_id, score"),
        (json.dumps([{**ROW, "segmentation": {"size": [9, 9], "counts": "a"}}]), "the mask is"),
        (json.dumps([{**ROW, "segmentation": [[1, 2, 3]]}]), "not a compressed RLE"),
        (json.dumps([{**ROW, "image_id": [7]}]), r"image_id \[7\] is not in the annotations"),
        (json.dumps([{**ROW, "image_id": "7"}]), "image_id '7' is not in the annotations"),
        (json.dumps([{**ROW, "score": 10**400}]), "bbox needs four finite numbers"),
        (json.dumps([{**ROW, "segmentation": None}]), "not a compressed RLE"),
        (json.dumps([{**ROW, "segmentation": {"size": 5, "counts": "a"}}]), "the mask is 5"),
        (
            json.dumps([{**ROW, "segmentation": {"size": [8, 10], "counts": LARGER}}]),
            "segmentation is broken",
        ),
        ("[" * 200000, "not a JSON file"),
        (json.dumps([3]), "not an object"),
    ],
)
def test_a_broken_file_is_named(tmp_path, truth, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_results(path, truth)
    assert str(caught.value).startswith(str(path))


def test_options_that_do_not_go_together(tmp_path, capsys):
    path = str(tmp_path / "results.json")
    assert cli.run(["eval", "--results", path, "--data", str(tmp_path), "--tta", "--weights", "demo"]) == 2
    assert "--weights, --tta: --results measures a file" in capsys.readouterr().err
    assert cli.run(["eval", "--split", "test-dev", "--save-results", path]) == 2
    assert "writes files of its own" in capsys.readouterr().err


def test_results_need_data(tmp_path, capsys):
    assert cli.run(["eval", "--results", str(tmp_path / "results.json")]) == 2
    assert "pass the data" in capsys.readouterr().err


def test_ids_as_pycocotools_takes_them(tmp_path, truth):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**ROW, "image_id": 7.0, "category_id": 3.0, "file_name": "x/a.png"}]))
    assert read_results(path, truth) == ([ROW], [])


def test_an_empty_box_beside_a_mask_is_none(tmp_path, truth):
    counts = coco_mask.encode(np.ones((8, 10), dtype=np.uint8, order="F"))["counts"].decode()
    mask = {"size": [8, 10], "counts": counts}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**ROW, "bbox": [], "segmentation": mask}]))
    (row,), notes = read_results(path, truth)
    assert ("bbox" in row, row["segmentation"], notes) == (False, mask, [])


def test_other_categories_do_not_count_and_are_said(tmp_path, truth):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([ROW, {**ROW, "category_id": 77}, {**ROW, "category_id": 77}]))
    rows, (note,) = read_results(path, truth)
    assert rows == [ROW]
    assert note == f"{path}: 2 detections of categories that the annotations lack (77): they do not count"


def test_images_are_found_by_images_json(tmp_path, truth):
    truth["images"].append({"id": 8, "file_name": "b.png", "width": 10, "height": 8})
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**ROW, "image_id": 1}]))
    (tmp_path / "images.json").write_text(json.dumps([{"id": 1, "file_name": "images/a.png"}]))
    rows, (note,) = read_results(path, truth)
    assert rows == [ROW]
    assert note.endswith(
        "1 of 2 images of the annotations are not in its images.json: their objects count as missed"
    )


def test_the_name_of_a_class_says_more_than_its_number(tmp_path, truth):
    """Detections of a checkpoint whose data had other category ids."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**ROW, "category_id": 1, "category_name": "cat"}]))
    assert read_results(path, truth) == ([ROW], [])
    path.write_text(json.dumps([ROW, {**ROW, "category_name": "dog"}]))
    assert "lack (dog): they do not count" in read_results(path, truth).notes[0]
