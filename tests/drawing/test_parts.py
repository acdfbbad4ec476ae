import numpy as np
import pytest
import torch

from dprd_cli.drawing.canvas import DARK, ORANGE
from dprd_cli.drawing.parts import (
    STYLES,
    ObjectParts,
    compare_parts,
    draw_object,
    draw_parts,
    part_colors,
)
from dprd_cli.model.parts import decompose

GREY = np.full((600, 600, 3), 120, dtype=np.uint8)
BOX = torch.tensor([[100.0, 100.0, 500.0, 500.0]])


def area(drawn, color):
    return int((drawn == np.array(color)).all(axis=-1).sum())


@pytest.mark.parametrize("count", [2, 4, 8, 16])
@pytest.mark.parametrize("style", ["tones", "distinct"])
def test_parts_have_colours_that_differ_and_all_are_seen(count, style):
    colors = part_colors(count, style)
    assert len(set(colors)) == (count if style == "tones" else min(count, 6))
    parts = decompose(BOX, count) + torch.arange(count)[None, :, None] * 3
    drawn = draw_parts(GREY, BOX, parts, style=style)
    assert all(area(drawn, color) for color in colors)


def test_tones_go_from_light_to_dark():
    sums = [sum(color) for color in part_colors(16)]
    assert sums == sorted(sums, reverse=True)


def test_the_papers_style_is_one_orange_without_anything_else():
    drawn = draw_parts(GREY, BOX, decompose(BOX, 4) + 6, style="paper", legend=True)
    assert drawn.shape == GREY.shape
    assert area(drawn, ORANGE)
    assert not area(drawn, (255, 255, 255))
    assert not any(area(drawn, color) for color in part_colors(4)[2:])


def test_the_part_that_the_score_needs_has_the_thickest_line():
    parts = torch.tensor([[[115.0, 110.0, 285.0, 490.0], [315.0, 110.0, 485.0, 490.0]]])  # no edge on another
    left, right = part_colors(2)
    areas = []
    for falls in ([0.5, 0.0, 0.0], [0.0, 0.5, 0.0]):
        drawn = draw_parts(GREY, BOX, parts, falls=torch.tensor([falls]))[
            400:450
        ]  # no sign and no arrow here
        areas.append((area(drawn, left), area(drawn, right)))
    assert areas[0][0] > areas[1][0]
    assert areas[1][1] > areas[0][1]


def test_an_arrow_goes_from_the_reference_part_to_the_part():
    # the left half's centre is (200, 300); moved by 60 pixels, it is (260, 300)
    moved = decompose(BOX, 2)
    moved[0, 0] += torch.tensor([60.0, 0, 60.0, 0])
    drawn = draw_parts(GREY, BOX, moved)
    left = part_colors(2)[0]
    assert area(drawn[298:303, 215:235], left)
    assert not area(draw_parts(GREY, BOX, decompose(BOX, 2))[298:303, 215:235], left)


def test_a_legend_names_the_parts_below_the_image():
    parts = decompose(BOX, 4)
    drawn = draw_parts(GREY, BOX, parts, legend=True)
    assert np.array_equal(drawn[:600], draw_parts(GREY, BOX, parts))
    assert all(area(drawn[600:], color) for color in (*part_colors(4), DARK))
    told = draw_parts(GREY, BOX, parts, legend=True, falls=torch.zeros(1, 5))
    assert told.shape[0] >= drawn.shape[0]


def test_an_object_is_cut_out_with_its_parts():
    image = np.full((900, 1200, 3), 120, dtype=np.uint8)
    image[:, 600:] = (0, 255, 0)  # far from the object
    box = torch.tensor([300.0, 300.0, 400.0, 350.0])
    drawn = draw_object(image, ObjectParts(box, decompose(box, 4) + 5))
    assert not area(drawn, (0, 255, 0))
    assert all(area(drawn, color) for color in part_colors(4))
    assert max(drawn.shape) <= 800


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("height", "width"), [(40, 3000), (3000, 40), (1, 1), (2600, 2400)])
def test_images_of_any_shape_have_a_bound(style, height, width):
    image = np.full((height, width, 3), 120, dtype=np.uint8)
    boxes = torch.tensor([[0.0, 0.0, width, height], [0.0, 0.0, 0.5, 0.5], [-9.0, -9.0, 9.0, 9.0]])
    drawn = draw_parts(image, boxes, decompose(boxes, 4), style=style, longest=2000)
    assert max(drawn.shape) <= 2000
    for box in boxes:
        assert draw_object(image, ObjectParts(box, decompose(box, 4)), style=style).size


def test_reference_and_deformed_parts_beside_each_other():
    left, right = compare_parts(GREY, BOX, decompose(BOX, 4) + 20)
    assert left.shape == right.shape
    assert not np.array_equal(left, right)
    assert np.array_equal(left, compare_parts(GREY, BOX, decompose(BOX, 4))[1])
