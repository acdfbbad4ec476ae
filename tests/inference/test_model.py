"""What a program may choose of detections, on a network that was never trained and finds everything."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from dprd_cli.errors import UsageError
from dprd_cli.inference.model import Model, load
from dprd_cli.inference.tiling import Tiling


@pytest.fixture(scope="module")
def everything(tiny_checkpoint):
    return load(tiny_checkpoint, device="cpu", score_thresh=0)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def usual(everything, image):
    return everything.predict(image)


def overlap(found, *, of_one_class):
    """Return the largest IoU of two detections of one class, or of two classes; 0 where there are no two."""
    boxes, labels = torch.from_numpy(found.boxes), torch.from_numpy(found.labels)
    same = (labels[:, None] == labels) if of_one_class else (labels[:, None] != labels)
    ious = box_iou(boxes, boxes)[same & ~torch.eye(len(boxes), dtype=torch.bool)]
    return max(ious.tolist(), default=0)


def test_the_network_finds_enough_to_choose_from(usual):
    assert len(usual) == 10  # model.test.detections_per_image
    assert overlap(usual, of_one_class=True) <= 0.5


def test_only_some_classes_and_as_many_of_them_as_there_may_be(everything, image, usual):
    name = usual.class_names[-1]
    found = everything.predict(image, classes=[name])
    assert set(found.class_names) == {name}
    assert len(found) >= usual.class_names.count(name)  # others take no room
    by_id = everything.predict(image, classes=[everything.class_names.index(name) + 1])
    assert by_id.boxes.tolist() == found.boxes.tolist()


def test_only_the_best(everything, image, usual):
    assert everything.predict(image, max_detections=3).scores.tolist() == usual.scores.tolist()[:3]
    assert len(everything.predict(image, max_detections=60, nms_iou=0.9)) > len(usual)
    for how in ({"tta": True}, {"tiling": Tiling(80)}):
        assert len(everything.predict(image, max_detections=3, **how)) == 3


@pytest.mark.parametrize("how", [{}, {"tta": True}, {"tiling": Tiling(80)}], ids=str)
def test_boxes_of_all_classes_suppress_each_other(everything, image, how):
    many = everything.predict(image, max_detections=400, **how)
    found = everything.predict(image, class_agnostic_nms=True, max_detections=400, **how)
    assert 0 < len(found) < len(many)
    if "tta" not in how:  # there, detections of one view do not suppress each other
        assert overlap(found, of_one_class=False) <= 0.5 < overlap(many, of_one_class=False)


def test_boxes_may_overlap_less_or_more(everything, image):
    least = everything.predict(image, nms_iou=0.1)
    assert overlap(least, of_one_class=True) <= 0.1
    most = everything.predict(image, nms_iou=0.9, max_detections=400)
    assert overlap(most, of_one_class=True) > 0.5


def test_images_are_seen_at_another_size(everything, image, monkeypatch):
    seen = []
    detect = type(everything.loaded.detector).detect

    def look(self, images, **options):
        seen.append(tuple(images[0].shape[-2:]))
        return detect(self, images, **options)

    monkeypatch.setattr(type(everything.loaded.detector), "detect", look)
    everything.predict(image, image_size=96)
    everything.predict(image, image_size=48)
    assert seen == [(96, 128), (48, 64)]


def test_what_load_is_told_holds_and_a_prediction_may_say_otherwise(
    tiny_checkpoint, image, everything, usual
):
    model = load(tiny_checkpoint, device="cpu", score_thresh=0, max_detections=2, classes=["fan", "squid"])
    assert len(model.predict(image)) == 2
    assert set(model.predict(image, max_detections=5).class_names) <= {"fan", "squid"}
    assert len(model.predict(image, max_detections=5)) == 5
    assert len(everything.predict(image)) == len(usual)  # nothing is left behind


def test_a_stream_takes_the_same(everything, image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "a.png")
    (found,) = everything.stream(tmp_path, classes="fan", max_detections=2)
    assert found.class_names == ["fan", "fan"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"classes": ["fann"]}, r"--classes fann: no such class \(did you mean 'fan'\?\)"),
        ({"max_detections": 0}, "--max-detections 0: expected at least 1"),
        ({"nms_iou": 1.5}, "--nms-iou 1.5: expected a number from 0 to 1"),
        ({"image_size": 8}, "--image-size 8: expected 32 to 8192 pixels"),
    ],
)
def test_mistakes_are_named(everything, image, choice, message):
    assert isinstance(everything, Model)
    with pytest.raises(UsageError, match=message):
        everything.predict(image, **choice)
