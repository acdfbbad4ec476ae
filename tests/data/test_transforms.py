"""Resizing, flipping, cropping and colours: laws, and numbers worked by hand."""

import numpy as np
import pytest

from dprd_cli.config.schema import DataConfig, SignpostConfig
from dprd_cli.data.copy_paste import copy_paste
from dprd_cli.data.rotation import rotate, turn
from dprd_cli.data.synthetic.signpost import COLORS, SignpostDataset
from dprd_cli.data.transforms import (
    change_color,
    crop,
    flip,
    jitter_scale,
    mask_box,
    pad,
    prepare,
    random_window,
    resize,
    resize_masks,
    resize_shape,
)
from dprd_cli.structures.sample import Sample
from samples import empty, same, sample

# the tag is the object's own
SIGNPOSTS = list(SignpostDataset("train", 4, 128, settings=SignpostConfig(level="articulated")))
CONFIG = DataConfig(
    path="x", train_min_sizes=(32, 40), test_min_size=32, max_size=64, crop=0.5, color_jitter=0.3
)


@pytest.mark.parametrize(
    ("before", "min_size", "max_size", "after"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 640 * 800/480 = 1066.67
        ((640, 480), 800, 1333, (1067, 800)),
        ((400, 1000), 800, 1333, (533, 1333)),  # 2000 > 1333: 800 * 1333/2000 = 533.2
        ((500, 500), 320, 576, (320, 320)),
        ((3, 7), 5, 100, (5, 12)),  # 7 * 5/3 = 11.67
        ((4, 10), 3, 100, (3, 8)),  # 7.5 is rounded up
        ((1, 1000), 10, 100, (1, 100)),  # 0.1 becomes one pixel
    ],
)
def test_resize_shape_by_hand(before, min_size, max_size, after):
    assert resize_shape(*before, min_size, max_size) == after


def test_resize_scales_boxes_exactly_and_masks_with_them():
    bigger = resize(sample(), (60, 150))  # twice as high, three times as wide
    np.testing.assert_array_equal(bigger.boxes, [[15, 8, 75, 48], [90, 20, 144, 40]])
    for box, mask in zip(bigger.boxes, bigger.masks, strict=True):
        np.testing.assert_array_equal(mask_box(mask), box)  # pixel-aligned rectangles stay exact
        lost = (box[2] - box[0]) * (box[3] - box[1]) - mask.sum()
        assert lost in {
            0,
            4,
        }  # a corner is covered by 3/4 x 2/3: a half, which OpenCV's versions round in two ways
    assert bigger.image.shape == (60, 150, 3)


def test_resize_to_the_same_size_does_nothing():
    before = sample()
    assert resize(before, (30, 50)) is before


def test_shrinking_much_takes_the_mean():
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    image[:, ::4] = 200  # every fourth column: the mean is 50; two taps would see 0 or 100
    striped = Sample(image, *(getattr(empty(), n) for n in ("boxes", "labels", "masks", "has_mask")), 1, "s")
    small = resize(Sample(image, striped.boxes, striped.labels, None, striped.has_mask, 1, "s"), (10, 10))
    assert (small.image == 50).all()


def test_windowed_mask_resize_equals_the_whole_image():
    import cv2

    rng = np.random.default_rng(3)
    for _ in range(30):
        height, width = rng.integers(20, 90, size=2)
        shape = (int(height * rng.uniform(0.6, 2.5)), int(width * rng.uniform(0.6, 2.5)))
        noise = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 3)
        mask = noise > np.quantile(noise, 0.7)
        mask[:, : rng.integers(0, width // 2)] = False
        exact = cv2.resize(mask.astype(np.float64), shape[::-1], interpolation=cv2.INTER_LINEAR)
        wrong = resize_masks(mask[None], shape)[0] != (exact >= 0.5)
        assert (np.abs(exact[wrong] - 0.5) < 0.04).all()  # warpAffine's coordinates have five binary places
        assert wrong.sum() <= 0.02 * (exact >= 0.5).sum()


def test_an_object_that_shrinks_to_nothing_has_no_mask():
    thin = sample(100, 100)
    thin.masks[:] = False
    thin.masks[0, 10, 10] = True
    thin.masks[1, 20:60, 20:60] = True
    small = resize(thin, (20, 20))
    assert small.has_mask.tolist() == [False, True]
    assert len(small.boxes) == 2


def test_flip_by_hand_and_twice():
    mirrored = flip(sample())
    np.testing.assert_array_equal(mirrored.boxes, [[25, 4, 45, 24], [2, 10, 20, 20]])  # 50 - x
    np.testing.assert_array_equal(mirrored.image, sample().image[:, ::-1])
    for box, mask in zip(mirrored.boxes, mirrored.masks, strict=True):
        np.testing.assert_array_equal(mask_box(mask), box)
    same(flip(mirrored), sample())
    assert flip(sample(masks=False)).masks is None
    same(flip(flip(empty())), empty())


def test_a_vertical_flip_by_hand_and_twice():
    mirrored = flip(sample(), vertical=True)
    np.testing.assert_array_equal(mirrored.boxes, [[5, 6, 25, 26], [30, 10, 48, 20]])  # 30 - y
    np.testing.assert_array_equal(mirrored.image, sample().image[::-1])
    for box, mask in zip(mirrored.boxes, mirrored.masks, strict=True):
        np.testing.assert_array_equal(mask_box(mask), box)
    same(flip(mirrored, vertical=True), sample())
    assert flip(sample(masks=False), vertical=True).masks is None
    same(flip(flip(empty(), vertical=True), vertical=True), empty())


def test_both_flips_are_half_a_turn():
    same(flip(flip(sample()), vertical=True), turn(sample(), 2))


def test_crop_by_hand():
    cut = crop(sample(), (10, 0, 40, 15))
    # the first box 5..25 x 4..24 becomes 0..15 x 4..15; the second 30..48 x 10..20 becomes 20..30 x 10..15
    np.testing.assert_array_equal(cut.boxes, [[0, 4, 15, 15], [20, 10, 30, 15]])
    assert cut.masks.shape == (2, 15, 30)
    np.testing.assert_array_equal(cut.image, sample().image[:15, 10:40])
    left = crop(sample(), (0, 0, 28, 30))
    assert left.labels.tolist() == [1]
    np.testing.assert_array_equal(left.boxes, [[5, 4, 25, 24]])
    same(crop(sample(), (0, 0, 50, 30)), sample())


def test_crop_shrinks_boxes_to_what_is_left_of_the_mask():
    ring = sample()
    ring.masks[0, :, :20] = False  # only columns 20..24 of the first object are drawn
    cut = crop(ring, (10, 0, 50, 30))
    np.testing.assert_array_equal(cut.boxes[0], [10, 4, 15, 24])
    gone = crop(ring, (0, 0, 15, 30))  # its box reaches into the window, its mask does not
    assert len(gone.boxes) == 0
    boxed = crop(sample(masks=False), (10, 0, 50, 30))
    np.testing.assert_array_equal(boxed.boxes[0], [0, 4, 15, 24])
    assert boxed.masks is None


def test_slivers_are_dropped():
    assert crop(sample(masks=False), (0, 0, 30, 30)).labels.tolist() == [1]  # the second would be 0 wide


def test_a_random_window_holds_a_centre():
    rng = np.random.default_rng(1)
    full = sample()
    centres = (full.boxes[:, :2] + full.boxes[:, 2:]) / 2
    for _ in range(300):
        x1, y1, x2, y2 = random_window(full, rng)
        assert 0 <= x1 < x2 <= 50
        assert 0 <= y1 < y2 <= 30
        assert x2 - x1 >= 25
        assert y2 - y1 >= 15
        assert any(x1 <= cx <= x2 and y1 <= cy <= y2 for cx, cy in centres)
        assert len(crop(full, (x1, y1, x2, y2)).boxes) >= 1
    random_window(empty(), rng)


def test_change_color_by_hand():
    image = np.array([[[100, 50, 0], [20, 20, 20]]], dtype=np.uint8)
    np.testing.assert_array_equal(change_color(image, 1, 1, 1), image)
    np.testing.assert_array_equal(change_color(image, 2, 1, 1)[0, 0], [200, 100, 0])
    # grey of the first pixel: 0.299 * 100 + 0.587 * 50 = 59.25; without saturation all channels are that
    np.testing.assert_array_equal(change_color(image, 1, 1, 0)[0, 0], [59, 59, 59])
    # mean grey (59.25 + 20) / 2 = 39.625; half the contrast: (100 + 39.625) / 2 = 69.8, 44.8, 19.8
    np.testing.assert_array_equal(change_color(image, 1, 0.5, 1)[0, 0], [70, 45, 20])
    assert change_color(image, 4, 1, 1)[0, 0].tolist() == [255, 200, 0]  # clipped


def test_prepare_leaves_an_image_of_the_right_size_alone():
    image, target = prepare(sample(32, 50), CONFIG)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), sample(32, 50).image)
    np.testing.assert_array_equal(target.boxes.numpy(), sample().boxes)


def test_padding_is_grey_at_the_right_and_the_bottom():
    before = sample()
    after = pad(before, (40, 60))
    assert after.image.shape == (40, 60, 3)
    assert (after.image[:30, :50] == before.image).all()
    assert (after.image[30:] == 128).all()
    assert (after.image[:, 50:] == 128).all()
    assert (after.boxes == before.boxes).all()
    assert after.masks.shape == (2, 40, 60)
    assert after.masks.sum() == before.masks.sum()


def test_large_scale_jitter_shrinks_and_pads():
    # 30 x 50 into 100 x 100 at factor 0.5: scale 100 / 50 * 0.5 = 1
    after = jitter_scale(sample(), np.random.default_rng(0), 100, (0.5, 0.5))
    assert after.image.shape == (100, 100, 3)
    assert (after.image[:30, :50] == sample().image).all()
    assert (after.boxes == sample().boxes).all()


def test_large_scale_jitter_cuts_what_does_not_fit():
    # at factor 2 the square of 100 holds 25 x 25 pixels of the image (scale 4), or all its height if less
    for seed in range(20):
        after = jitter_scale(sample(), np.random.default_rng(seed), 100, (2.0, 2.0))
        assert after.image.shape == (100, 100, 3)
        assert after.masks.shape[1:] == (100, 100)
        assert len(after.boxes) == len(after.labels) == len(after.masks) == len(after.has_mask)
        assert (after.boxes >= 0).all()
        assert (after.boxes <= 100).all()
        for box, mask in zip(after.boxes, after.masks, strict=True):
            np.testing.assert_allclose(box, mask_box(mask), atol=1)


@pytest.mark.parametrize(
    "change",
    [
        flip,
        lambda s: flip(s, vertical=True),
        lambda s: resize(s, (200, 150)),
        lambda s: pad(s, (140, 150), (9, 17)),
        lambda s: crop(s, (5, 20, 128, 110)),
        *(lambda s, quarters=quarters: turn(s, quarters) for quarters in (1, 2, 3)),
        lambda s: rotate(s, 25.0),
    ],
)
def test_cues_stay_on_what_they_point_at(change):
    colors = np.array([*COLORS.values()])
    for post in SIGNPOSTS:
        changed = change(post)
        height, width = changed.image.shape[:2]
        assert len(changed.cues) == len(changed.boxes)
        for (x, y), label in zip(changed.cues, changed.labels, strict=True):
            if 0 <= x < width and 0 <= y < height:  # a cut may leave the object and take the tag
                seen = changed.image[int(y), int(x)].astype(int)
                assert np.abs(colors - seen).sum(axis=1).argmin() == label


def test_cues_come_along_with_pasted_objects():
    for seed in range(3):
        pasted = copy_paste(SIGNPOSTS[0], SIGNPOSTS[1], np.random.default_rng(seed))
        known = np.concatenate([SIGNPOSTS[0].cues, SIGNPOSTS[1].cues]).tolist()
        assert len(pasted.cues) == len(pasted.boxes)
        assert all(cue in known for cue in pasted.cues.tolist())


def test_cues_reach_the_target():
    image, target = prepare(SIGNPOSTS[0], CONFIG)  # 128 x 128 become 32 x 32
    assert image.shape == (3, 32, 32)
    np.testing.assert_allclose(target.cues.numpy(), SIGNPOSTS[0].cues / 4)
    assert target.to("cpu").cues.tolist() == target.cues.tolist()
