"""Turning by quarters and by any angle: laws, and numbers worked by hand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dprd_cli.data.rotation import rotate, turn
from dprd_cli.data.transforms import PADDING, mask_box
from dprd_cli.structures.sample import Sample
from samples import empty, same, sample


def blobs(rng, height, width, masks=True):
    """Return an image with round objects, their masks and the tight boxes of these."""
    drawn = np.zeros((3, height, width), dtype=np.uint8)
    for mask in drawn:
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(3, width // 3)), int(rng.integers(3, height // 3)))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return Sample(
        image=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        boxes=np.array([mask_box(mask > 0) for mask in drawn]),
        labels=np.arange(3),
        masks=drawn > 0 if masks else None,
        has_mask=np.full(3, masks),
        image_id=1,
        file_name="b.png",
    )


def test_a_quarter_turn_by_hand():
    turned = turn(sample(), 1)  # of 30 x 50: x' = y, y' = 50 - x
    np.testing.assert_array_equal(turned.boxes, [[4, 25, 24, 45], [10, 2, 20, 20]])
    assert turned.image.shape == (50, 30, 3)
    np.testing.assert_array_equal(turned.image[49, 0], sample().image[0, 0])  # the upper left goes down
    np.testing.assert_array_equal(turned.image[0, 0], sample().image[0, 49])  # the upper right goes left
    np.testing.assert_array_equal(turn(sample(), 3).boxes, [[6, 5, 26, 25], [10, 30, 20, 48]])  # 30 - y, x


def test_four_quarter_turns_are_none_to_the_bit():
    before = blobs(np.random.default_rng(0), 37, 52)
    after = before
    for _ in range(4):
        after = turn(after, 1)
    same(after, before)
    same(turn(before, 4), before)
    same(turn(turn(before, 1), 2), turn(before, 3))
    same(turn(turn(before, 3), 1), before)
    same(turn(turn(empty(), 1), 3), empty())
    assert turn(sample(masks=False), 1).masks is None


def test_boxes_between_pixels_turn_up_to_the_rounding_of_their_side():
    rng = np.random.default_rng(1)
    before = sample()
    before = replace(before, boxes=np.sort(rng.uniform(0, 30, (2, 2, 2)), axis=1).reshape(2, 4).astype("f4"))
    after = before
    for _ in range(4):
        after = turn(after, 1)
    np.testing.assert_allclose(after.boxes, before.boxes, rtol=0, atol=2 * np.spacing(np.float32(50)))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turned_box_is_that_of_its_mask(quarters):
    turned = turn(blobs(np.random.default_rng(2), 40, 60), quarters)
    for box, mask in zip(turned.boxes, turned.masks, strict=True):
        np.testing.assert_array_equal(mask_box(mask), box)


def test_no_angle_changes_nothing():
    same(rotate(sample(), 0.0), sample())


@pytest.mark.parametrize("quarters", [1, 2, 3, 4])
@pytest.mark.parametrize("masks", [True, False])
def test_right_angles_in_a_square_are_quarter_turns(quarters, masks):
    before = blobs(np.random.default_rng(3), 48, 48, masks)
    after, expected = rotate(before, 90.0 * quarters), turn(before, quarters)
    np.testing.assert_array_equal(after.image, expected.image)
    np.testing.assert_allclose(after.boxes, expected.boxes, atol=1e-4)
    if masks:
        np.testing.assert_array_equal(after.masks, expected.masks)


def test_boxes_are_those_of_their_masks_and_stay_inside():
    rng = np.random.default_rng(4)
    for _ in range(60):
        before = blobs(rng, 40, 70)
        after = rotate(before, float(rng.uniform(-180, 180)))
        assert after.image.shape == before.image.shape
        assert len(after.boxes) == len(after.labels) == len(after.masks) == len(after.has_mask)
        for box, mask in zip(after.boxes, after.masks, strict=True):
            np.testing.assert_array_equal(mask_box(mask), box)
            assert mask.any()
        for box in rotate(replace(before, masks=None, has_mask=~before.has_mask), 30.0).boxes:
            assert (box[:2] >= 0).all()
            assert (box[2:] <= [70, 40]).all()
            assert (box[2:] - box[:2] >= 1).all()


def test_masks_turn_with_the_image():
    """A painted object and its mask are the same pixels before and after, up to those at the edge."""
    mask = np.zeros((60, 80), dtype=np.uint8)
    cv2.ellipse(mask, (40, 30), (25, 10), 20, 0, 360, 1, -1)
    before = Sample(
        image=np.repeat(mask[..., None] * np.uint8(200), 3, axis=2),
        boxes=mask_box(mask > 0)[None],
        labels=np.array([0]),
        masks=mask[None] > 0,
        has_mask=np.array([True]),
        image_id=1,
        file_name="e.png",
    )
    y, x = np.mgrid[:60, :80] + 0.5
    inside = np.hypot(x - 40, y - 30) < 28  # nothing grey comes in there
    for degrees in (-25.0, 7.0, 40.0):
        after = rotate(before, degrees)
        painted = (after.image[..., 0] >= 100) & inside
        assert (painted ^ after.masks[0]).sum() <= 2
        assert abs(int(after.masks.sum()) - int(before.masks.sum())) <= 0.02 * before.masks.sum()


def test_what_comes_in_is_grey_and_what_leaves_is_dropped():
    corner = sample(40, 40)
    boxes = np.array([[0, 0, 5, 5], [18, 18, 24, 24]], dtype=np.float32)
    masks = np.zeros((2, 40, 40), dtype=bool)
    masks[0, :5, :5] = masks[1, 18:24, 18:24] = True
    for before in (
        replace(corner, boxes=boxes, masks=masks),
        replace(corner, boxes=boxes, masks=None, has_mask=np.zeros(2, dtype=bool)),
    ):
        after = rotate(before, 45.0)  # the corner is 28 from the middle, the frame ends at 20
        assert after.labels.tolist() == [0]
        assert (after.image[0, 0] == PADDING).all()


def test_a_box_without_mask_becomes_its_turned_ellipse_s():
    # 20 x 10 about the middle of 60 x 60, by 30 degrees: half width sqrt((10 cos)^2 + (5 sin)^2) = 9.01,
    # half height sqrt((10 sin)^2 + (5 cos)^2) = 6.61
    before = sample(60, 60, masks=False).take(np.array([0]))
    before = replace(before, boxes=np.array([[20, 25, 40, 35]], dtype=np.float32))
    after = rotate(before, 30.0)
    np.testing.assert_allclose(after.boxes, [[20.99, 23.39, 39.01, 36.61]], atol=0.01)
    # beside the middle: (45, 30) is 15 to the right; counter-clockwise it comes to (30 + 15 cos, 30 - 15 sin)
    aside = rotate(replace(before, boxes=np.array([[40, 25, 50, 35]], dtype=np.float32)), 30.0)
    np.testing.assert_allclose(aside.boxes, [[37.99, 17.5, 47.99, 27.5]], atol=0.01)  # a circle stays one


def test_masked_and_unmasked_objects_turn_together():
    before = replace(sample(), has_mask=np.array([True, False]))
    before.masks[1] = False
    after = rotate(before, 10.0)
    assert after.has_mask.tolist() == [True, False]
    np.testing.assert_array_equal(mask_box(after.masks[0]), after.boxes[0])
    assert not after.masks[1].any()
    assert len(rotate(empty(), 10.0).boxes) == 0
