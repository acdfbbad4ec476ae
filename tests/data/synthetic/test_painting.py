"""How the built-in data is painted: sprites, textures, colours that stand out, and noise."""

import cv2
import numpy as np
import pytest

from dprd_cli.data.synthetic.painting import (
    CONTRAST,
    draw_sprite,
    draw_texture,
    finish,
    paint_background,
    paint_sprite,
)
from dprd_cli.data.synthetic.shapes import CLASSES, draw_pose, outlines, transform


def rng(seed=0):
    return np.random.default_rng(seed)


def sprite(name="lizard", seed=0, length=120):
    parts = transform(draw_pose(name, rng(seed)), 0.4, length)
    return parts, draw_sprite(rng(seed), parts, outline=2)


@pytest.mark.parametrize("name", CLASSES)
def test_a_sprite_is_its_parts_cropped_to_their_extent(name):
    parts, found = sprite(name)
    assert set(np.unique(found.mask)) == {0, 255}
    assert found.area == np.count_nonzero(found.mask)
    polygons = outlines(parts)
    extent = polygons.max(axis=(0, 1)) - polygons.min(axis=(0, 1))
    margin = np.array(found.mask.shape)[::-1] - extent  # 3 pixels, and what rounding outward adds
    assert (margin >= 3).all()
    assert (margin < 5).all()
    rows, columns = np.nonzero(found.mask)
    for covered, side in zip((rows, columns), found.mask.shape, strict=True):
        assert covered.min() <= 2
        assert covered.max() >= side - 4
    whole = np.zeros_like(found.mask)  # the union of the parts, drawn at whole pixels
    corner = np.floor(polygons.min(axis=(0, 1))) - 1
    for polygon in polygons:
        cv2.fillConvexPoly(whole, np.rint(polygon - corner).astype(np.int32), 255)
    assert np.count_nonzero(whole != found.mask) < 0.06 * found.area


def test_parts_are_dark_at_their_outlines_and_lighter_inside():
    _, found = sprite("dumbbell", length=200)
    inner = cv2.erode(found.mask, np.ones((5, 5), np.uint8)) > 0
    edge = (found.mask > 0) & ~(cv2.erode(found.mask, np.ones((3, 3), np.uint8)) > 0)
    assert np.median(found.shade[edge]) == 70
    assert np.median(found.shade[inner]) >= 165


@pytest.mark.parametrize("seed", range(12))
def test_textures_mix_two_colours_over_the_whole_range(seed):
    texture = draw_texture(rng(seed), 60, 80, 12.0)
    assert (texture.shape, texture.dtype) == ((60, 80), np.uint8)
    np.testing.assert_array_equal(texture, draw_texture(rng(seed), 60, 80, 12.0))
    if texture.any():  # not the plain one
        assert texture.max() - texture.min() > 100


def test_all_kinds_of_texture_are_drawn():
    kinds = [int(rng(seed).integers(5)) for seed in range(60)]
    assert set(kinds) == set(range(5))
    plain = [not draw_texture(rng(seed), 40, 40, 10.0).any() for seed in range(60)]
    assert plain == [kind == 0 for kind in kinds]


def test_only_the_object_is_painted_and_it_stands_out():
    _, found = sprite()
    distances = []
    for seed in range(30):
        region = np.full((*found.mask.shape, 3), 90, np.uint8)
        whole = tuple(slice(0, side) for side in found.mask.shape)
        behind = np.array([[90.0, 90.0, 90.0], [200.0, 40.0, 60.0]])
        mean = paint_sprite(rng(seed), region, found, whole, behind)
        assert (region[found.mask == 0] == 90).all()
        distances.append(np.linalg.norm(mean - behind, axis=1).min())
        painted = region[found.mask > 0].astype(float).mean(axis=0)
        # outlines and shading make it darker than what is said; its hue is that
        assert painted @ mean / np.linalg.norm(painted) / np.linalg.norm(mean) > 0.95
    assert np.mean(np.array(distances) >= CONTRAST) > 0.7  # the best of a few draws


def test_a_crop_of_a_sprite_is_painted_as_in_the_whole():
    _, found = sprite()
    height, width = found.mask.shape
    crop = slice(height // 4, height), slice(0, width // 2)
    region = np.zeros((height - height // 4, width // 2, 3), np.uint8)
    paint_sprite(rng(1), region, found, crop, np.zeros((1, 3)))
    np.testing.assert_array_equal(region.any(axis=2), found.mask[crop] > 0)


def test_a_background_is_cluttered_and_a_function_of_the_generator():
    first, again, other = (paint_background(rng(seed), 64, 3) for seed in (0, 0, 1))
    assert (first.shape, first.dtype) == ((192, 192, 3), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5
    assert first.std() > 5


def test_finishing_averages_the_canvas_and_adds_a_little_noise():
    canvas = np.full((30, 30, 3), 100, np.uint8)
    canvas[:, 15:] = 200
    image = finish(rng(), canvas, 10).astype(int)
    assert image.shape == (10, 10, 3)
    # 16 levels of noise around the mean of 3 x 3 canvas pixels; columns 0 to 4 are of one colour
    assert np.abs(image[:, :5] - 100).max() <= 8
    assert np.abs(image[:, 5:] - 200).max() <= 8
    assert len(np.unique(image[:, :5])) > 10
