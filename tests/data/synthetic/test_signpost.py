"""Signposts: the same for everyone, exact, and told only by the tag that their object points at."""

import math

import numpy as np
import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import SignpostConfig
from dprd_cli.data.synthetic.signpost import COLORS, SignpostDataset
from dprd_cli.errors import UsageError

LEVELS = ("same", "pointed", "articulated")


def samples(level="pointed", count=40, split="train", **knobs):
    return list(SignpostDataset(split, count, 128, 0, SignpostConfig(level=level, **knobs)))


@pytest.mark.parametrize("level", LEVELS)
def test_an_image_depends_on_split_and_index_alone(level):
    few, many = samples(level, 3), SignpostDataset("train", 99, 128, 0, SignpostConfig(level=level))
    for index in (2, 0, 2):
        np.testing.assert_array_equal(few[index].image, many[index].image)
        np.testing.assert_array_equal(few[index].cues, many[index].cues)
        assert few[index].labels.tolist() == many.labels_of(index).tolist()
    assert (samples(level, 1, "val")[0].image != few[0].image).mean() > 0.5


@pytest.mark.parametrize("level", LEVELS)
def test_the_cue_of_an_object_shows_the_colour_of_its_class(level):
    colors = np.array([*COLORS.values()])
    for sample in samples(level):
        x, y = np.floor(sample.cues).astype(int).T
        seen = sample.image[y, x].astype(int)
        assert np.abs(colors[:, None] - seen).sum(axis=2).argmin(axis=0).tolist() == sample.labels.tolist()


def test_the_cue_lies_where_the_level_has_it():
    for sample in samples("same"):
        right = sample.boxes[:, 2] - sample.cues[:, 0]
        assert (right < 0).all()  # to the right of the box, at half its height
        middle = (sample.boxes[:, 1] + sample.boxes[:, 3]) / 2
        np.testing.assert_allclose(sample.cues[:, 1], middle, atol=1)
    turns = []
    for sample in samples("pointed"):
        away = sample.cues - (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
        sizes = (sample.boxes[:, 2:] - sample.boxes[:, :2]).mean(axis=1)
        np.testing.assert_allclose(np.hypot(*away.T) / sizes, 0.75, atol=0.06)  # the rim at 0.5, and 0.25
        turns += np.arctan2(*away.T).tolist()
    assert np.histogram(turns, 4, (-math.pi, math.pi))[0].min() > 0  # to all sides
    for sample in samples("articulated"):
        x, y = np.floor(sample.cues).astype(int).T
        assert sample.masks[np.arange(len(x)), y, x].all()  # the limb is the object's own


def test_the_hand_points_at_the_cue():
    for sample in samples("pointed"):
        middles = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
        for middle, cue in zip(middles, sample.cues, strict=True):
            x, y = np.floor(middle + 0.4 * (cue - middle)).astype(int)
            assert sample.image[y, x].max() < 40  # black, but for noise
            x, y = np.floor(middle - 0.4 * (cue - middle)).astype(int)
            assert sample.image[y, x].min() > 90


def test_no_limb_shows_that_it_is_the_one():
    """Nothing near the end of a limb is black, so that no local feature gives the telling one away."""
    for sample in samples("articulated", distractors=1.0):
        sizes = (sample.boxes[:, 2:] - sample.boxes[:, :2]).max(axis=1)
        y, x = np.indices(sample.image.shape[:2])
        for cue, size in zip(sample.cues, sizes, strict=True):
            near = np.hypot(x + 0.5 - cue[0], y + 0.5 - cue[1]) < 0.2 * size
            assert not (near & sample.masks.any(axis=0) & (sample.image.max(axis=2) < 40)).any()


def test_distractors_sit_to_the_other_sides():
    def tags(share):
        saturated = [np.ptp(s.image.astype(int), axis=2) > 150 for s in samples("same", distractors=share)]
        return sum(mask.sum() for mask in saturated)

    assert tags(1.0) > 2.5 * tags(0.0)


def test_tags_in_a_row_are_summed_up():
    settings = SignpostConfig(tags=2)
    labels = [s.labels for s in SignpostDataset("train", 60, 128, 0, settings)]
    assert np.bincount(np.concatenate(labels), minlength=4).min() > 5


@pytest.mark.parametrize(("size", "knobs"), [(64, {}), (96, {"distance": 1.0, "sizes": (0.4, 0.5)})])
def test_every_image_has_objects_that_fit(size, knobs):
    for sample in SignpostDataset("val", 8, size, 0, SignpostConfig(**knobs)):
        assert len(sample.labels)
        assert (sample.cues > 0).all()
        assert (sample.cues < size).all()
        assert (sample.masks.sum(axis=0) <= 1).all()


def test_the_ground_truth_says_where_the_cue_is():
    dataset = SignpostDataset("val", 2, 64)
    cues = [annotation["cue"] for annotation in dataset.coco()["annotations"]]
    assert cues == [cue for sample in dataset for cue in sample.cues.tolist()]


def test_sizes_that_are_none():
    with pytest.raises(UsageError, match="sizes is"):
        resolve(overrides=["data.path=signpost", "data.signpost.sizes=[0.3, 0.2]"])
