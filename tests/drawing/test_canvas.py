"""An image to draw on: masks, boxes and labels, where they should be and nowhere else."""

import cv2
import numpy as np
import pytest

from dprd_cli.drawing.canvas import DARK, ORANGE, WHITE, Canvas, class_color, font, shorten, shrink

LONG = "a class with a name far too long for the image it is drawn on, really far too long"
RED = (255, 0, 0)


def plain_image(height=128, width=160, value=120):
    return np.full((height, width, 3), value, dtype=np.uint8)


def changed(canvas, value=120):
    """Return which pixels were drawn on."""
    return (canvas.finish() != value).any(axis=2)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((128, 160), (600, 750)), ((700, 900), (700, 900)), ((2, 2000), (2, 2000)), ((300, 1500), (400, 2000))],
)
def test_the_short_side_is_enlarged_to_600_unless_the_long_one_passes_2000(shape, size):
    image = plain_image(*shape)
    canvas = Canvas(image)
    assert canvas.size == size
    canvas.box((0, 0, shape[1], shape[0]), RED)
    assert (image == 120).all()
    assert canvas.finish().shape == (*size, 3)


def test_a_mask_is_tinted_inside_and_outlined_at_its_border():
    canvas = Canvas(plain_image(600, 600))
    crop = np.zeros((200, 300), dtype=bool)
    crop[20:180, 30:270] = True
    crop[80:120, 100:200] = False  # a hole
    canvas.mask(crop, 50, 100, RED)
    drawn = canvas.finish()
    assert drawn[150, 100].tolist() == [176, 69, 69]  # 0.58 * 120 + 0.42 * (255, 0, 0), rounded down
    assert drawn[200, 200].tolist() == [120, 120, 120]  # in the hole
    for y, x in ((120, 200), (279, 200), (150, 80), (150, 319)):  # on the border of the piece
        assert np.abs(drawn[y, x].astype(int) - RED).max() < 20  # but for the line's smoothing
    assert drawn[180, 200].tolist() != [120, 120, 120]  # the hole has an outline too
    whole = np.zeros((600, 600), dtype=bool)
    whole[100:300, 50:350] = crop
    near = cv2.dilate(whole.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not changed(canvas)[~near].any()


def test_a_mask_without_a_pixel_changes_nothing():
    canvas = Canvas(plain_image(600, 600))
    canvas.mask(np.zeros((5, 5), dtype=bool), 10, 10, RED)
    canvas.mask(np.zeros((0, 0), dtype=bool), 10, 10, RED)
    assert not changed(canvas).any()


def test_a_mask_of_the_whole_image_is_enlarged_with_it():
    mask = np.zeros((128, 160), dtype=bool)
    mask[32:96, 40:120] = True
    canvas = Canvas(plain_image())
    canvas.full_mask(mask, RED)
    share = changed(canvas).mean()
    assert share == pytest.approx(mask.mean(), abs=0.02)


def test_a_box_is_its_four_lines():
    canvas = Canvas(plain_image(600, 800))
    canvas.box((100, 200, 500, 400), RED)
    drawn = changed(canvas)
    for y, x in ((200, 300), (400, 300), (300, 100), (300, 500)):
        assert drawn[y - 2 : y + 2, x - 2 : x + 2].any()
    assert not drawn[210:390, 110:490].any()
    assert not drawn[:190].any()
    assert not drawn[:, 510:].any()


def test_dashes_leave_gaps_and_start_at_the_corners():
    whole, dashed = Canvas(plain_image(600, 800)), Canvas(plain_image(600, 800))
    whole.box((100, 200, 500, 400), RED)
    dashed.box((100, 200, 500, 400), RED, dashed=True)
    lines, dashes = changed(whole), changed(dashed)
    assert 0.4 * lines.sum() < dashes.sum() < 0.8 * lines.sum()
    for y, x in ((200, 100), (200, 500), (400, 100), (400, 500)):
        assert dashes[y - 3 : y + 3, x - 3 : x + 3].any()


def test_a_halo_is_dark_around_the_line():
    bare, halo = Canvas(plain_image(600, 800)), Canvas(plain_image(600, 800))
    bare.box((100, 200, 500, 400), WHITE)
    halo.box((100, 200, 500, 400), WHITE, halo=True)
    assert changed(halo).sum() > changed(bare).sum()
    assert bare.finish().min() >= 120
    assert halo.finish().min() < (120 + DARK[0]) / 2 + 10


@pytest.mark.parametrize("box", [(-50, -50, 900, 700), (790, 590, 800, 600), (300, 300, 300, 300)])
def test_lines_stay_inside_the_image(box):
    canvas = Canvas(plain_image(600, 800))
    canvas.box(box, RED, halo=True)
    assert canvas.finish().shape == (600, 800, 3)
    assert changed(canvas).any()


def test_a_label_is_a_patch_of_its_colour_with_text_that_can_be_read():
    for color, text in ((RED, 255), ((230, 230, 90), 15)):  # light text on dark, dark on light
        canvas = Canvas(plain_image(600, 800))
        canvas.chip((200, 200, 500, 400), "cat 0.99", color)
        drawn = canvas.finish()
        patch = changed(canvas)
        rows, columns = np.flatnonzero(patch.any(axis=1)), np.flatnonzero(patch.any(axis=0))
        assert rows.max() < 200  # above the box
        assert columns.min() == 200
        inside = drawn[patch]
        assert (inside == np.array(color)).all(axis=1).mean() > 0.5
        assert (np.abs(inside.astype(int) - text) < 30).all(axis=1).any()


def test_text_that_fits_is_left_alone_and_no_width_is_too_small():
    face = font(15)
    for width in (0, 5, 40, 400):
        cut = shorten(LONG, width, face)
        assert cut == "…" or face.getlength(cut) <= width
    assert shorten("", 0, face) == ""


def test_labels_of_objects_in_one_place_do_not_cover_each_other():
    canvas = Canvas(plain_image(600, 800))
    for _ in range(4):
        canvas.chip((200.0, 200.0, 500.0, 400.0), "cat 0.99", class_color(0))
    assert canvas._covered(canvas._chips[3]) == (canvas._chips[3][2] - canvas._chips[3][0]) * (
        canvas._chips[3][3] - canvas._chips[3][1]
    )  # itself only


def test_shortened_text_fits_and_ends_with_an_ellipsis():
    face = font(15)
    assert shorten("cat", 100, face) == "cat"
    cut = shorten(LONG, 100, face)
    assert cut.endswith("…")
    assert face.getlength(cut) <= 100


def test_class_colours_differ_and_are_never_the_orange_of_the_parts():
    colors = [class_color(label) for label in range(80)]
    assert len(set(colors)) == 80
    distance = np.abs(np.array(colors) - np.array(ORANGE)).sum(axis=1)
    assert distance.min() > 80


@pytest.mark.parametrize(
    ("size", "expected"), [((40, 100), (20, 50)), ((50, 50), (50, 50)), ((3, 900), (1, 50))]
)
def test_a_shrunken_image_is_never_longer_and_small_ones_stay(size, expected):
    image = np.full((*size, 3), 77, np.uint8)
    shrunken = shrink(image, 50)
    assert shrunken.shape == (*expected, 3)
    assert (shrunken == 77).all()
    assert (shrunken is image) == (max(size) <= 50)
