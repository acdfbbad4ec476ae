import numpy as np
import pytest
import torch

from dprd_cli.drawing.canvas import Canvas, class_color
from dprd_cli.drawing.detections import draw_detections, draw_targets
from dprd_cli.drawing.parts import draw_parts, part_colors
from dprd_cli.model.parts import decompose
from dprd_cli.structures.detections import Detections, Target

LEFT = part_colors(4)[0]
NAMES = ("cat", "dog", "a class with a name far too long for the image it is drawn on, really far too long")


def plain_image(height=128, width=160, value=120):
    return np.full((height, width, 3), value, dtype=np.uint8)


def detections(image_size=(128, 160), num=3, count=4):
    height, width = image_size
    unit = torch.tensor([[0.1, 0.1, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0], [0.7, 0.8, 0.72, 0.81]])[:num]
    boxes = unit * torch.tensor([width, height, width, height])
    return Detections(
        boxes,
        torch.tensor([0.9, 0.8, 0.3])[:num],
        torch.tensor([0, 1, 2])[:num],
        image_size,
        masks=torch.ones(num, 28, 28),
        part_boxes=decompose(boxes, count) + 2,
    )


def has_color(drawn, color):
    return bool((drawn == np.array(color)).all(axis=-1).any())


@pytest.mark.parametrize("image_size", [(128, 160), (600, 800), (2000, 1500)])
def test_everything_is_drawn_in_its_colour_and_the_input_is_untouched(image_size):
    image = plain_image(*image_size)
    drawn = draw_detections(image, detections(image_size), NAMES, parts=True)
    assert drawn.dtype == np.uint8
    assert drawn.shape[:2] == Canvas(image).size
    assert has_color(drawn, class_color(0))
    assert has_color(drawn, LEFT)
    assert (image == 120).all()


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert draw_detections(plain_image(128, 160), detections(), NAMES).shape == (600, 750, 3)
    assert draw_detections(plain_image(700, 900), detections((700, 900)), NAMES).shape == (700, 900, 3)
    assert Canvas(plain_image(2, 2000)).size == (2, 2000)  # a strip does not become a giant
    assert Canvas(plain_image(1, 1)).size == (600, 600)


def test_score_threshold_masks_and_parts_can_be_left_out():
    image = plain_image(600, 750)
    found = detections((600, 750))
    plain = draw_detections(image, found[:0], NAMES)
    assert np.array_equal(plain, image)
    assert np.array_equal(draw_detections(image, found, NAMES, score_thresh=0.95), image)
    assert not has_color(draw_detections(image, found, NAMES), LEFT)
    inside = (300, 225)  # in the cat's mask, on no line
    assert (draw_detections(image, found[:1], NAMES, masks=False)[inside] == 120).all()
    assert (draw_detections(image, found[:1], NAMES)[inside] != 120).any()


def test_labels_stay_inside_the_image_even_if_longer_than_it():
    found = Detections(
        torch.tensor([[150.0, 120.0, 160.0, 128.0]]), torch.ones(1), torch.tensor([2]), (128, 160)
    )
    canvas = Canvas(plain_image())
    canvas.chip((150.0, 120.0, 160.0, 128.0), NAMES[2], class_color(2))
    x1, y1, x2, y2 = canvas._chips[0]
    assert 0 <= x1 < x2 <= canvas.size[1]
    assert 0 <= y1 < y2 <= canvas.size[0]
    assert has_color(draw_detections(plain_image(), found, NAMES), class_color(2))


def test_degenerate_boxes_and_boxes_outside_do_not_fail():
    boxes = torch.tensor(
        [[10.0, 10.0, 10.0, 10.0], [-50.0, -50.0, 500.0, 500.0], [159.0, 127.0, 160.0, 128.0]]
    )
    found = Detections(
        boxes, torch.ones(3), torch.zeros(3, dtype=torch.int64), (128, 160), masks=torch.ones(3, 28, 28)
    )
    draw_detections(plain_image(), found, NAMES, parts=True)
    draw_parts(plain_image(), boxes, decompose(boxes, 16))


def test_targets_with_and_without_masks():
    masks = torch.zeros(2, 128, 160, dtype=torch.bool)
    masks[:, 40:80, 40:80] = True
    boxes, labels = torch.tensor([[40.0, 40.0, 80.0, 80.0], [90.0, 10.0, 150.0, 60.0]]), torch.tensor([0, 1])
    target = Target(boxes, labels, (128, 160), masks=masks, has_mask=torch.tensor([True, False]))
    drawn = draw_targets(plain_image(), target, NAMES)
    assert (drawn[281, 281] != 120).any()
    assert not np.array_equal(drawn, draw_targets(plain_image(), Target(boxes, labels, (128, 160)), NAMES))
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (700, 700))
    assert (draw_targets(plain_image(700, 700), empty, NAMES) == 120).all()


def test_colours_are_of_instances_where_there_is_one_class_or_where_asked():
    found, image = detections((600, 750), num=2), plain_image(600, 750)
    found.labels[:] = 0
    assert not has_color(draw_detections(image, found, NAMES), class_color(1))
    assert has_color(draw_detections(image, found, NAMES, color_by="instance"), class_color(1))
    assert has_color(draw_detections(image, found, NAMES[:1]), class_color(1))
    assert not has_color(draw_detections(image, found, NAMES[:1], color_by="class"), class_color(1))
