import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.errors import UsageError, UserError
from dprd_cli.inference.prediction import Prediction
from dprd_cli.ops.masks import rle_to_mask
from dprd_cli.structures.detections import Detections


def prediction(masks=True, parts=True):
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 5.0, 5.0]])
    found = Detections(
        boxes,
        torch.tensor([0.75, 0.25]),
        torch.tensor([1, 0]),
        (80, 100),
        masks=torch.ones(2, 28, 28) if masks else None,
        mask_scores=torch.tensor([0.5, 0.125]) if masks else None,
        part_boxes=boxes[:, None].repeat(1, 4, 1) if parts else None,
    )
    return Prediction("in/a.jpg", np.zeros((80, 100, 3), dtype=np.uint8), found, ("cat", "dog"), (3, 7))


def test_arrays_and_names():
    item = prediction()
    assert (len(item), item.image_size) == (2, (80, 100))
    assert item.boxes.tolist() == [[10, 20, 30, 60], [0, 0, 5, 5]]
    assert (item.boxes.dtype, item.scores.dtype, item.labels.dtype) == (np.float32, np.float32, np.int64)
    assert (item.scores.tolist(), item.labels.tolist()) == ([0.75, 0.25], [1, 0])
    assert item.class_names == ["dog", "cat"]
    assert item.part_boxes.shape == (2, 4, 4)
    assert item.masks.shape == (2, 80, 100)
    assert item.masks.sum(axis=(1, 2)).tolist() == [20 * 40, 25]
    assert item.masks is item.masks  # pasted once
    assert repr(item) == "Prediction('in/a.jpg', 100x80: 1 dog, 1 cat)"
    assert repr(item.above(0.5)) == "Prediction('in/a.jpg', 100x80: 1 dog)"
    assert item.above(0.8).summary() == "nothing found"


def test_without_masks_and_parts():
    item = prediction(masks=False, parts=False)
    assert (item.masks, item.part_boxes) == (None, None)
    assert set(item.to_coco()[0]) == {"image_id", "category_id", "bbox", "score"}


def test_coco_results_have_the_original_ids():
    first = prediction().to_coco(42)[0]
    json.dumps(first)
    assert (first["image_id"], first["category_id"], first["score"], first["mask_score"]) == (
        42,
        7,
        0.75,
        0.5,
    )
    assert first["bbox"] == [10, 20, 20, 40]
    assert first["part_boxes"] == [[10, 20, 20, 40]] * 4
    assert rle_to_mask(first["segmentation"]).sum() == 20 * 40
    assert set(prediction().to_coco(masks=False, parts=False)[0]) == {
        "image_id",
        "category_id",
        "bbox",
        "score",
    }


def test_supervision_gets_what_its_class_takes(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    found = prediction().to_supervision()
    assert vars(found).keys() == {"xyxy", "mask", "confidence", "class_id", "data"}
    assert found.mask.dtype == bool
    assert found.data["class_name"].tolist() == ["dog", "cat"]
    assert prediction(masks=False).above(1).to_supervision().data["class_name"].shape == (0,)


def test_supervision_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match=r"to_supervision\(\) needs a package: pip install supervision"):
        prediction().to_supervision()


def test_drawings_and_files(tmp_path):
    item = prediction()
    assert item.plot().shape == (600, 750, 3)
    assert item.plot().sum() > item.plot(score_thresh=0.5).sum() > item.plot(score_thresh=0.9).sum()
    assert item.plot(score_thresh=1).sum() == item.image.sum() == 0
    assert Image.open(item.save(tmp_path / "a.JPG")).size == (750, 600)
    assert json.loads(item.save(str(tmp_path / "a.json")).read_text()) == item.to_coco(parts=False)
    with pytest.raises(UsageError, match=r"a.txt: cannot save as '.txt'; use .json, .jpg"):
        item.save(tmp_path / "a.txt")


@pytest.mark.parametrize("size", [(80, 100), (900, 3000), (4000, 50)])
def test_a_notebook_shows_the_drawing_with_parts_and_never_a_huge_one(size):
    small = prediction()
    item = replace(small, image=np.zeros((*size, 3), dtype=np.uint8))
    item = replace(item, detections=replace(item.detections, image_size=size))
    shown = np.asarray(Image.open(io.BytesIO(item._repr_png_())))
    assert max(shown.shape[:2]) <= 1024
    if size == (80, 100):
        assert np.array_equal(shown, item.plot(parts=True))
    else:
        assert shown.shape[0] / shown.shape[1] == pytest.approx(size[0] / size[1], rel=0.2)
