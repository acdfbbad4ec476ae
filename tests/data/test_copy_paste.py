"""Pasted objects: what they hide, what is left, and where they come to."""

from dataclasses import replace

import numpy as np
import pytest

from dprd_cli.data.copy_paste import copy_paste, hide, paste
from dprd_cli.data.transforms import mask_box
from dprd_cli.structures.sample import Sample
from samples import empty, same, sample


def rectangles(*boxes, height=30, width=50, seed=1, labels=None):
    """Return a random image with rectangular objects, all of their pixels in their masks."""
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return Sample(
        image=np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.arange(len(boxes)) + 5 if labels is None else np.array(labels),
        masks=masks,
        has_mask=np.ones(len(boxes), dtype=bool),
        image_id=9,
        file_name="d.png",
    )


def test_paste_by_hand():
    # below: 5..25 x 4..24 and 30..48 x 10..20; the first pasted hides the left ten columns of the first,
    # the second all of the second
    after = paste(sample(), rectangles((0, 0, 15, 30), (28, 8, 50, 22)))
    np.testing.assert_array_equal(after.boxes, [[15, 4, 25, 24], [0, 0, 15, 30], [28, 8, 50, 22]])
    assert after.labels.tolist() == [1, 5, 6]
    assert [int(mask.sum()) for mask in after.masks] == [200, 450, 308]
    assert after.has_mask.all()
    assert (after.image_id, after.file_name) == (7, "a.png")


def test_no_pixel_is_invented_and_areas_add_up():
    rng = np.random.default_rng(0)
    for _ in range(40):
        corners = np.sort(rng.integers(0, (50, 30), (3, 2, 2)), axis=1)
        corners[:, 1] += 1  # none is empty
        below, donor = sample(), rectangles(*corners.reshape(3, 4).tolist())
        after = paste(below, donor)
        over = donor.masks.any(axis=0)
        np.testing.assert_array_equal(after.image[over], donor.image[over])
        np.testing.assert_array_equal(after.image[~over], below.image[~over])
        np.testing.assert_array_equal(after.masks[-3:], donor.masks)
        np.testing.assert_array_equal(after.boxes[-3:], donor.boxes)
        hidden = int((below.masks & over).sum())
        assert int(after.masks.sum()) == int(below.masks.sum() - hidden + donor.masks.sum())
        assert not (after.masks[:-3] & over).any()
        for box, mask in zip(after.boxes, after.masks, strict=True):
            np.testing.assert_array_equal(mask_box(mask), box)


def test_what_is_not_touched_keeps_its_annotated_box():
    loose = sample()
    loose.boxes[:] += 0.5
    np.testing.assert_array_equal(hide(loose, np.zeros((30, 50), dtype=bool)).boxes, loose.boxes)
    over = np.zeros((30, 50), dtype=bool)
    over[4, 5] = True  # a corner of the first: its mask's box stays, and is taken
    np.testing.assert_array_equal(hide(loose, over).boxes, [[5, 4, 25, 24], loose.boxes[1]])


def test_an_object_without_a_mask_goes_when_all_of_its_box_is_hidden():
    mixed = replace(sample(), has_mask=np.array([True, False]))
    mixed.masks[1] = False
    partly = paste(mixed, rectangles((28, 8, 40, 22)))
    np.testing.assert_array_equal(partly.boxes, [[5, 4, 25, 24], [30, 10, 48, 20], [28, 8, 40, 22]])
    assert partly.has_mask.tolist() == [True, False, True]
    assert paste(mixed, rectangles((28, 8, 50, 22))).labels.tolist() == [1, 5]
    boxes_only = paste(sample(masks=False), rectangles((28, 8, 50, 22)))
    assert boxes_only.has_mask.tolist() == [False, True]
    assert boxes_only.masks.shape == (2, 30, 50)


def test_an_image_without_objects_gives_and_takes():
    after = copy_paste(empty(), rectangles((3, 3, 9, 9)), np.random.default_rng(0))
    assert after.labels.tolist() == [5]
    same(copy_paste(sample(), empty(), np.random.default_rng(0)), sample())


def test_objects_without_a_mask_are_never_pasted():
    donor = rectangles((3, 3, 9, 9), (20, 3, 29, 9))
    donor = replace(donor, has_mask=np.array([True, False]))
    donor.masks[1] = False
    for seed in range(20):
        assert copy_paste(empty(), donor, np.random.default_rng(seed)).labels.tolist() == [5]
    boxes_only = replace(donor, masks=None, has_mask=np.zeros(2, dtype=bool))
    same(copy_paste(sample(), boxes_only, np.random.default_rng(0)), sample())


def test_a_random_subset_is_pasted():
    donor = rectangles((0, 0, 4, 4), (10, 0, 14, 4), (20, 0, 24, 4))
    drawn = [tuple(copy_paste(empty(), donor, np.random.default_rng(s)).labels.tolist()) for s in range(60)]
    assert len(set(drawn)) == 7  # every subset but the empty one
    assert all(list(labels) == sorted(labels) for labels in drawn)


@pytest.mark.parametrize(("height", "width"), [(12, 20), (60, 90), (12, 90), (30, 50)])
def test_images_of_other_sizes_are_laid_over_at_random(height, width):
    x, y = width // 2 - 5, height // 2 - 4
    donor = rectangles((x, y, x + 10, y + 8), height=height, width=width)
    patch = donor.image[y : y + 8, x : x + 10]
    seen = set()
    for seed in range(40):
        after = copy_paste(empty(), donor, np.random.default_rng(seed))
        assert after.image.shape == (30, 50, 3)
        for box, mask in zip(after.boxes, after.masks, strict=True):
            np.testing.assert_array_equal(mask_box(mask), box)
            assert mask.sum() <= 80
            seen.add(tuple(box.tolist()))
            if mask.sum() == 80:
                x, y = box[:2].astype(int)
                np.testing.assert_array_equal(after.image[y : y + 8, x : x + 10], patch)
    assert len(seen) == 1 if (height, width) == (30, 50) else len(seen) > 5
