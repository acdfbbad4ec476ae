import base64
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import binary_fill_holes

from dprd_cli.inference.labelme import polygons, to_labelme
from dprd_cli.inference.prediction import Prediction
from dprd_cli.ops.masks import paste_masks
from dprd_cli.structures.detections import Detections


def drawn(polygons, shape):
    """Fill polygons as labelme does: inside and outline."""
    image = Image.new("1", shape[::-1])
    for points in polygons:
        ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=1, outline=1)
    return np.array(image)


@pytest.mark.parametrize("seed", range(5))
def test_outlines_give_the_mask_back(seed):
    noise = np.random.default_rng(seed).random((12, 15))
    mask = np.kron(noise > 0.55, np.ones((3, 3))).astype(bool)
    mask[0, 0] = mask[1, 1] = True
    found = polygons(mask, 0, 0)
    assert all(len(points) >= 3 for points in found)
    again = drawn(found, mask.shape)
    # outlines connect diagonally: what they enclose are the holes of a region whose background does not
    assert np.array_equal(again, binary_fill_holes(mask))


@pytest.mark.parametrize("pixels", [[(2, 3)], [(2, 3), (3, 3)]])
def test_specks_are_polygons_too(pixels):
    mask = np.zeros((6, 6), dtype=bool)
    for x, y in pixels:
        mask[y, x] = True
    (points,) = polygons(mask, 0, 0)
    assert len(points) == 3
    assert np.array_equal(drawn([points], mask.shape), mask)
    assert polygons(np.zeros((3, 3), dtype=bool), 0, 0) == []


def prediction(masks):
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [-5.0, 0.0, 5.0, 5.0]])
    scores, labels = torch.tensor([0.75, 0.25]), torch.tensor([1, 0])
    found = Detections(boxes, scores, labels, (80, 100), masks=torch.ones(2, 28, 28) if masks else None)
    return Prediction("in/a.jpg", np.zeros((80, 100, 3), dtype=np.uint8), found, ("cat", "dog"), (3, 7))


def test_a_document():
    item = prediction(masks=True)
    document = json.loads(json.dumps(to_labelme(item, "../in/a.jpg")))
    assert (document["imagePath"], document["imageData"]) == ("../in/a.jpg", None)
    assert (document["imageHeight"], document["imageWidth"]) == (80, 100)
    assert [(shape["label"], shape["group_id"]) for shape in document["shapes"]] == [("dog", 0), ("cat", 1)]
    for shape, box, mask in zip(
        document["shapes"],
        item.detections.boxes,
        paste_masks(item.detections.masks, item.detections.boxes, (80, 100)).numpy(),
        strict=True,
    ):
        assert shape["shape_type"] == "polygon"
        assert np.array_equal(drawn([shape["points"]], (80, 100)), mask)
        assert np.min(shape["points"]) >= 0 <= box[2]


def test_boxes_where_there_are_no_masks():
    for document in (
        to_labelme(prediction(False), "a.png"),
        to_labelme(prediction(True), "a.png", masks=False),
    ):
        assert document["shapes"][0]["shape_type"] == "rectangle"
        assert document["shapes"][0]["points"] == [[10, 20], [30, 60]]


def test_an_image_that_is_no_file_is_inside():
    assert base64.b64decode(to_labelme(prediction(True), "a.png", b"png")["imageData"]) == b"png"
