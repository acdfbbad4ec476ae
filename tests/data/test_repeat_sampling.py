"""Repeat factors worked by hand, and the laws of drawing repeats."""

from types import SimpleNamespace

import numpy as np
import pytest

from data_folders import small_config, write_cups
from dprd_cli.data.build import build_dataset
from dprd_cli.data.repeat_sampling import draw_repeats, epoch_length, repeat_factors
from dprd_cli.data.synthetic.dataset import SyntheticDataset


class Labels(SimpleNamespace):
    """A split of which only the labels are known."""

    def __init__(self, *labels, classes):
        super().__init__(class_names=tuple("abcdefgh"[:classes]))
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def labels_of(self, index):
        return np.array(self.labels[index], dtype=np.int64)


def test_repeat_factors_by_hand():
    # 8 images: class a in 7 of them, b in 2, c in 1 (twice), d in none; the last is empty
    split = Labels([0], [0], [0], [0, 1], [0, 0, 1], [2, 2, 0], [0], [], classes=4)
    # t = 0.5: a 7/8 > t: 1; b sqrt(0.5 / 0.25) = 1.414; c sqrt(0.5 / 0.125) = 2
    expected = [1, 1, 1, 2**0.5, 2**0.5, 2, 1, 1]
    np.testing.assert_allclose(repeat_factors(split, 0.5), expected)
    assert (repeat_factors(split, 0.125) == 1).all()  # no class is in a smaller share
    assert epoch_length(repeat_factors(split, 0.5)) == 10  # 5 + 2 * 1.414 + 2 = 9.83


def test_data_sets_know_the_labels_without_the_images(tmp_path):
    train = build_dataset(small_config(write_cups(tmp_path)), "train")
    built_in = SyntheticDataset("train", 6, 64)
    for dataset in (train, built_in):
        for index in range(len(dataset)):
            np.testing.assert_array_equal(dataset.labels_of(index), dataset[index].labels)
    with pytest.raises(IndexError):
        built_in.labels_of(6)


@pytest.mark.parametrize("seed", range(5))
def test_every_epoch_is_of_one_length_and_shows_every_image(seed):
    rng = np.random.default_rng(seed)
    factors = 1 + rng.exponential(0.7, 200) * (rng.random(200) < 0.4)
    for epoch in range(30):
        counts = draw_repeats(factors, np.random.default_rng([seed, epoch]))
        assert counts.sum() == epoch_length(factors)
        assert (counts >= np.floor(factors)).all()
        assert (counts <= np.floor(factors) + 2).all()
    assert 0 <= epoch_length(factors) - factors.sum() < 1


def test_images_come_as_often_as_their_factors_say():
    factors = np.array([1.0, 1.25, 1.75, 2.5, 3.0, 1.5])  # the fractions sum to 2: no rounding
    rng = np.random.default_rng(0)
    draws = np.array([draw_repeats(factors, rng) for _ in range(4000)])
    assert (draws.sum(axis=1) == 11).all()
    assert (np.abs(draws - factors) < 1).all()  # rounded down or up, nothing else
    # the standard error of a share of 4000 is below 0.008
    np.testing.assert_allclose(draws.mean(axis=0), factors, atol=0.03)
    assert (draws[:, [0, 4]] == [1, 3]).all()


def test_factors_of_one_repeat_nothing():
    factors = np.ones(7)
    rng = np.random.default_rng(0)
    assert draw_repeats(factors, rng).tolist() == [1] * 7
    assert epoch_length(factors) == 7
    assert epoch_length(np.full(10, 1.1)) == 11  # ten times 0.1 is one, but for rounding
