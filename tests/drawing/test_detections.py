import numpy as np
import pytest
import torch

from dprd_cli.drawing.canvas import ORANGE, Canvas, class_color
from dprd_cli.drawing.detections import compare_parts, draw_detections, draw_parts, draw_targets, grid
from dprd_cli.model.parts import decompose
from dprd_cli.structures.detections import Detections, Target

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
    assert has_color(drawn, ORANGE)
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
    assert not has_color(draw_detections(image, found, NAMES), ORANGE)
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
    draw_parts(plain_image(), boxes, decompose(boxes, 16), fixed=True)


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


def test_comparison_has_reference_left_and_deformed_right():
    found = detections((600, 600), num=1)
    drawn = compare_parts(plain_image(600, 600), found, decompose(found.boxes, 4))
    half = drawn.shape[1] // 2
    assert drawn.shape[1] > 1200
    left, right = drawn[80:, 20 : half - 20], drawn[80:, half + 20 : -20]
    white = (255, 255, 255)
    assert has_color(left, white)  # dashes
    assert not has_color(right[:500], white)
    assert (left == np.array(ORANGE)).all(axis=-1).sum() < (right == np.array(ORANGE)).all(axis=-1).sum()


def test_grid_rows_share_a_height_and_all_images_are_there():
    cells = [
        plain_image(100, 100, 10),
        plain_image(200, 100, 60),
        plain_image(50, 200, 90),
        plain_image(100, 100, 140),
    ]
    sheet = grid(cells, 3, ["one", "two", "three", "four"], width=900)
    assert abs(sheet.shape[1] - 900) <= 3
    assert all(has_color(sheet, (value,) * 3) for value in (10, 60, 90, 140))
    assert has_color(sheet, (255, 255, 255))
    assert grid(cells[:1], 4).shape[2] == 3


def test_grid_of_nothing_says_so():
    with pytest.raises(ValueError, match="at least one image"):
        grid([], 3)
