"""The built-in data set: the same for everyone, exact, and without a short cut to the class."""

import cv2
import numpy as np
import pytest

from dprd_cli.data.synthetic import dataset as synthetic
from dprd_cli.data.synthetic.dataset import MIN_PIXELS, SyntheticDataset
from dprd_cli.data.synthetic.shapes import CLASSES


@pytest.fixture(scope="module")
def many():
    dataset = SyntheticDataset("train", 200)
    return [dataset[i] for i in range(200)]


def assert_same(a, b):
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.masks, b.masks)
    assert (a.image_id, a.file_name) == (b.image_id, b.file_name)


def test_image_depends_on_its_index_alone(many):
    other = SyntheticDataset("train", 10_000)
    for index in (7, 3, 3):
        assert_same(other[index], many[index])


def test_first_image_stays_what_it_was(many):
    # every number reported on this data is about these images; another OpenCV may move edges by a pixel
    assert many[0].labels.tolist() == [1, 5, 2, 5]
    boxes = [[20, 47, 57, 75], [0, 14, 81, 65], [0, 74, 50, 123], [32, 98, 56, 112]]
    np.testing.assert_allclose(many[0].boxes, boxes, atol=1)
    np.testing.assert_allclose(many[0].image.mean(axis=(0, 1)), [52.3, 112.0, 96.2], atol=1)


@pytest.mark.parametrize("change", [{"split": "val"}, {"seed": 1}, {"size": 129}])
def test_split_seed_and_size_change_the_images(many, change):
    other = SyntheticDataset(**{"split": "train", "length": 3, **change})
    for index in range(3):
        image = cv2.resize(other[index].image, (128, 128))
        assert np.abs(image.astype(int) - many[index].image).mean() > 5


def test_shapes_and_types(many):
    for sample in many[:20]:
        count = len(sample.labels)
        assert sample.image.shape == (128, 128, 3)
        assert sample.image.dtype == np.uint8
        assert sample.boxes.shape == (count, 4)
        assert sample.boxes.dtype == np.float32
        assert sample.labels.dtype == np.int64
        assert sample.masks.shape == (count, 128, 128)
        assert sample.masks.dtype == np.bool_
        assert sample.has_mask.all()
        assert sample.has_mask.shape == (count,)


def test_boxes_are_the_tight_boxes_of_the_masks(many):
    for sample in many:
        for box, mask in zip(sample.boxes, sample.masks, strict=True):
            y, x = np.nonzero(mask)
            assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_masks_are_disjoint_and_none_is_a_sliver(many):
    for sample in many:
        assert sample.masks.sum(axis=0).max() <= 1
        assert sample.masks.sum(axis=(1, 2)).min() >= MIN_PIXELS


def test_masks_are_where_the_objects_are_painted(many, monkeypatch):
    monkeypatch.setattr(synthetic, "paint_sprite", lambda rng, region, *rest: np.zeros(3))
    bare = SyntheticDataset("train", 200)
    for index in range(20):
        image, masks = bare[index].image.astype(int), many[index].masks
        painted = np.abs(image - many[index].image).max(axis=2) > 2 * 16  # the noise is 16 levels wide
        # outlines are dark and colours far from the ground, so nearly every object pixel differs; no other
        # does but along the borders, where pixels are covered by less than half
        assert painted[masks.any(axis=0)].mean() > 0.85
        halo = cv2.dilate(masks.any(axis=0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert not painted[~halo].any()


def test_objects_vary_in_number_scale_and_class(many):
    assert {len(sample.labels) for sample in many} == {1, 2, 3, 4}
    boxes = np.concatenate([sample.boxes for sample in many])
    long_side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    small, large = np.percentile(long_side, [5, 95])
    assert small < 20
    assert large > 85
    assert long_side.max() >= 6 * long_side.min()
    counts = np.bincount(np.concatenate([sample.labels for sample in many]), minlength=len(CLASSES))
    assert counts.min() > 0.6 * counts.mean()


def test_objects_occlude_each_other(many):
    boxes = [sample.boxes for sample in many]
    touching = 0
    for b in boxes:
        low, high = np.maximum(b[:, None, :2], b[None, :, :2]), np.minimum(b[:, None, 2:], b[None, :, 2:])
        touching += ((high > low).all(axis=2).sum() - len(b)) // 2
    assert touching > len(boxes) / 2


@pytest.mark.parametrize("size", [64, 200])
def test_other_sizes(size):
    dataset = SyntheticDataset("val", 5, size=size)
    for index in range(5):
        assert dataset[index].image.shape == (size, size, 3)
        assert len(dataset[index].labels) >= 1
