import json
import zipfile

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from dprd_cli.errors import ResourceError, UserError
from dprd_cli.evaluation.submission import Submission, check_results, rounded_boxes
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.structures.detections import Detections

IMAGES = [{"id": 7, "width": 100, "height": 80}, {"id": 9, "width": 33, "height": 44}]
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}]
SIZES = {7: (80, 100), 9: (44, 33)}
NAME = "detections_test-dev2017_dprd_results"


def found(boxes, scores=None, labels=None, size=(80, 100), masks=True):
    num = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.linspace(0.9, 0.1, num) if scores is None else torch.tensor(scores),
        torch.zeros(num, dtype=torch.int64) if labels is None else torch.tensor(labels),
        size,
        masks=torch.ones(num, 28, 28) if masks else None,
        mask_scores=torch.full((num,), 0.25) if masks else None,
    )


def submission(with_masks=True):
    return Submission(IMAGES, CATEGORIES, (90, 3), with_masks=with_masks)


def truth():
    api = COCO()
    api.dataset = {"info": {}, "images": IMAGES, "categories": CATEGORIES, "annotations": []}
    api.createIndex()
    return api


def test_files_are_named_zipped_and_load_again(tmp_path):
    collected = submission()
    collected.add(7, found([[10, 20, 30.126, 60], [0, 0, 5, 5]], [0.75, 0.5], [1, 0]))
    collected.add(9, found([], size=(44, 33)))
    files = collected.save(OutputFolder(tmp_path, "eval.test-dev"), "dprd")
    expected = [f"{kind}/{NAME}.{ending}" for kind in ("bbox", "segm") for ending in ("json", "zip")]
    assert [path.relative_to(tmp_path).as_posix() for path in files] == expected
    assert sorted(p.name for p in (tmp_path / "bbox").iterdir()) == [f"{NAME}.json", f"{NAME}.zip"]
    boxes, masks = (json.loads((tmp_path / kind / f"{NAME}.json").read_text()) for kind in ("bbox", "segm"))
    assert boxes == [
        {"image_id": 7, "category_id": 3, "bbox": [10.0, 20.0, 20.13, 40.0], "score": 0.75},
        {"image_id": 7, "category_id": 90, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5},
    ]
    assert [set(row) for row in masks] == [{"image_id", "category_id", "segmentation", "score"}] * 2
    assert masks[0]["score"] == 0.25
    assert masks[0]["segmentation"]["size"] == [80, 100]
    for kind, rows in (("bbox", boxes), ("segm", masks)):
        with zipfile.ZipFile(tmp_path / kind / f"{NAME}.zip") as archive:
            assert archive.namelist() == [f"{NAME}.json"]
            assert json.loads(archive.read(f"{NAME}.json")) == rows
        assert len(truth().loadRes(str(tmp_path / kind / f"{NAME}.json")).anns) == 2


def test_without_masks_there_are_only_boxes(tmp_path):
    collected = submission(with_masks=False)
    collected.add(7, found([[0, 0, 5, 5]], masks=False))
    assert {path.parent.name for path in collected.save(OutputFolder(tmp_path, "eval.test-dev"), "x")} == {
        "bbox"
    }
    assert not (tmp_path / "segm").exists()


def test_rounded_boxes_stay_inside_the_image():
    rng = np.random.default_rng(0)
    for width, height in rng.integers(1, 700, (60, 2)):
        corners = np.sort(rng.uniform(-0.2, 1.2, (500, 2, 2)), axis=1) * [width, height]
        boxes = rounded_boxes(found(corners.reshape(-1, 4), size=(int(height), int(width))))
        x, y, w, h = boxes.T
        assert (x >= 0).all()
        assert (y >= 0).all()
        assert (x + w <= width).all()
        assert (y + h <= height).all()
        assert (boxes == np.round(boxes, 2)).all()
        low, high = corners[:, 0], corners[:, 1]
        inside = np.clip(np.concatenate((low, high), 1), 0, [width, height] * 2)
        assert np.abs(np.stack((x, y, x + w, y + h), 1) - inside).max() < 0.016


def test_empty_boxes_and_those_after_a_hundred_are_left_out():
    collected = submission()
    thin = [[10, 10, 10.001, 50], [120, 10, 130, 50]]  # empty when rounded; outside
    collected.add(7, found([[0, 0, 5, 5], *thin, *[[1, 1, 50, 50]] * 101]))
    assert len(collected.results["bbox"]) == len(collected.results["segm"]) == 100
    assert collected.left_out == 4
    assert collected.results["bbox"][0]["bbox"] == [0, 0, 5, 5]


def box_row(**changes):
    return {"image_id": 7, "category_id": 3, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5} | changes


def mask_row(**changes):
    return {
        "image_id": 7,
        "category_id": 3,
        "segmentation": {"size": [80, 100], "counts": "abc"} | changes,
        "score": 0.5,
    }


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("bbox", [box_row(image_id=8)], "image 8: no such image id in the test-dev file"),
        ("bbox", [box_row(category_id=4)], "image 7: category id 4 is not in the test-dev file"),
        ("bbox", [box_row(score=1.01)], "image 7: score 1.01 is not in 0..1"),
        ("bbox", [box_row(score=-0.1)], "image 7: score -0.1 is not in 0..1"),
        ("bbox", [box_row(score=float("nan"))], "image 7: score nan is not in 0..1"),
        ("bbox", [box_row(bbox=[0, float("nan"), 1, 1])], "image 7: box [0, nan, 1, 1] is not finite"),
        ("bbox", [box_row(bbox=[0, 0, float("inf"), 1])], "image 7: box [0, 0, inf, 1] is not finite"),
        ("bbox", [box_row(bbox=[0, 0, 0, 1])], "image 7: box [0, 0, 0, 1] is empty"),
        (
            "bbox",
            [box_row(bbox=[90, 0, 10.5, 1])],
            "image 7: box [90, 0, 10.5, 1] reaches out of the image (100x80)",
        ),
        (
            "bbox",
            [box_row(bbox=[-1, 0, 5, 5])],
            "image 7: box [-1, 0, 5, 5] reaches out of the image (100x80)",
        ),
        ("bbox", [box_row()] * 101, "image 7: more than 100 detections"),
        ("segm", [mask_row(size=[100, 80])], "image 7: mask of size [100, 80], expected [80, 100]"),
        ("segm", [mask_row(counts=b"abc")], "image 7: mask whose run lengths are not ASCII text"),
        ("segm", [mask_row(counts="ä")], "image 7: mask whose run lengths are not ASCII text"),
    ],
)
def test_what_the_server_would_refuse(kind, rows, message):
    with pytest.raises(UserError) as caught:
        check_results(rows, kind, SIZES, {3, 90})
    assert str(caught.value) == f"{kind} results: {message}; nothing was written"
    assert caught.value.exit_code == 1


def test_good_results_pass():
    check_results([box_row()] * 100 + [box_row(image_id=9)] * 100, "bbox", SIZES, {3, 90})
    check_results([box_row(bbox=[0, 0, 100, 80], score=0), box_row(score=1)], "bbox", SIZES, {3, 90})
    check_results([mask_row()], "segm", SIZES, {3, 90})


def test_detections_that_are_not_numbers_are_refused():
    with pytest.raises(UserError, match=r"image 7: box .* is not finite; nothing was written"):
        submission().add(7, found([[0, 0, float("nan"), 5]]))
    with pytest.raises(UserError, match="image 7: score nan"):
        submission().add(7, found([[0, 0, 5, 5]], [float("nan")]))
    with pytest.raises(UserError, match="image 8: no such image id"):
        submission().add(8, found([[0, 0, 5, 5]]))


def test_nothing_found_at_all_is_no_submission(tmp_path):
    collected = submission()
    collected.add(7, found([]))
    with pytest.raises(UserError, match="bbox results: nothing was found in any image"):
        collected.save(OutputFolder(tmp_path, "eval.test-dev"), "x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "bbox").write_text("")
    collected = submission()
    collected.add(7, found([[0, 0, 5, 5]]))
    with pytest.raises(ResourceError, match="bbox: cannot create the folder"):
        collected.save(OutputFolder(tmp_path, "eval.test-dev"), "x")


def test_what_pycocotools_cannot_load_is_not_written(tmp_path):
    collected = submission()
    collected.add(7, found([[0, 0, 5, 5]]))
    del collected.results["segm"][0]["segmentation"]["size"]
    with pytest.raises(UserError, match="segm results: pycocotools cannot load them"):
        collected.save(OutputFolder(tmp_path, "eval.test-dev"), "x")
    assert list(tmp_path.iterdir()) == []
