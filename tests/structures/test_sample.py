"""Samples: an image with nothing else known, and some of its objects; names of classes."""

import numpy as np
import pytest

from dprd_cli.structures.sample import LONGEST_NAME, SPLITS, Sample, is_class_name, without_objects


def sample(masks=True):
    return Sample(
        image=np.zeros((4, 6, 3), np.uint8),
        boxes=np.arange(12, dtype=np.float32).reshape(3, 4),
        labels=np.array([2, 0, 1]),
        masks=np.arange(3)[:, None, None] == np.arange(24).reshape(4, 6) % 3 if masks else None,
        has_mask=np.array([True, False, True]),
        image_id=7,
        file_name="a.png",
    )


def test_an_image_of_which_nothing_is_known():
    image = np.full((5, 3, 3), 9, np.uint8)
    found = without_objects(image)
    assert found.image is image
    assert (found.boxes.shape, found.boxes.dtype) == ((0, 4), np.float32)
    assert (found.labels.shape, found.labels.dtype) == ((0,), np.int64)
    assert (found.masks, found.has_mask.shape, found.has_mask.dtype) == (None, (0,), np.bool_)


@pytest.mark.parametrize("rows", [np.array([True, False, True]), np.array([0, 2])])
@pytest.mark.parametrize("masks", [True, False])
def test_some_of_the_objects_keep_what_belongs_to_them(rows, masks):
    whole = sample(masks)
    some = whole.take(rows)
    assert some.boxes.tolist() == whole.boxes[[0, 2]].tolist()
    assert some.labels.tolist() == [2, 1]
    assert some.has_mask.tolist() == [True, True]
    if masks:
        np.testing.assert_array_equal(some.masks, whole.masks[[0, 2]])
    else:
        assert some.masks is None
    assert (some.image is whole.image, some.image_id, some.file_name) == (True, 7, "a.png")


def test_all_or_none_of_the_objects():
    whole = sample()
    np.testing.assert_array_equal(whole.take(np.ones(3, bool)).masks, whole.masks)
    nothing = whole.take(np.zeros(3, bool))
    assert (nothing.boxes.shape, nothing.masks.shape) == ((0, 4), (0, 4, 6))


@pytest.mark.parametrize("name", ["cat", "traffic light", "é", "x" * LONGEST_NAME, "N/A 12"])
def test_names_of_classes(name):
    assert is_class_name(name)


@pytest.mark.parametrize("name", ["", None, 3, ["cat"], "a\nb", "a\x1b[2J", "x" * (LONGEST_NAME + 1)])
def test_what_is_no_name_of_a_class(name):
    assert not is_class_name(name)


def test_the_splits():
    assert SPLITS == ("train", "val")
