"""Random changes in training: the contract, and what depends on what."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.augment import augment
from dprd_cli.data.copy_paste import Donor
from dprd_cli.data.transforms import prepare
from samples import empty, sample

CONFIG = DataConfig(
    path="x", train_min_sizes=(32, 40), test_min_size=32, max_size=64, crop=0.5, color_jitter=0.3
)


def check_contract(image, target):
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    height, width = image.shape[1:]
    assert max(height, width) <= CONFIG.max_size
    assert target.image_size == (height, width)
    assert target.boxes.dtype == torch.float32
    assert target.labels.dtype == torch.int64
    assert (target.boxes >= 0).all()
    assert (target.boxes[:, 2::2] <= width).all()
    assert (target.boxes[:, 3::2] <= height).all()
    assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
    assert target.masks is None or target.masks.dtype == torch.bool


def test_augment_depends_on_the_generator_alone():
    first = augment(sample(), np.random.default_rng(5), CONFIG)
    second = augment(sample(), np.random.default_rng(5), CONFIG)
    other = augment(sample(), np.random.default_rng(6), CONFIG)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].boxes, second[1].boxes)
    assert first[0].shape != other[0].shape or not torch.equal(first[0], other[0])


def test_augment_keeps_the_contract():
    rng = np.random.default_rng(0)
    for number in range(100):
        image, target = augment(sample(masks=number % 2 == 0) if number % 5 else empty(), rng, CONFIG)
        check_contract(image, target)


def test_without_randomness_augment_is_prepare():
    still = CONFIG.model_copy(
        update={"train_min_sizes": (32,), "flip": 0.0, "crop": 0.0, "color_jitter": 0.0}
    )
    image, target = augment(sample(), np.random.default_rng(0), still)
    tested, expected = prepare(sample(), still)
    assert torch.equal(image, tested)
    assert torch.equal(target.boxes, expected.boxes)
    assert torch.equal(target.masks, expected.masks)
    assert target.image_id == 7


def test_scale_jitter_scales_the_short_side():
    still = {"train_min_sizes": (20,), "crop": 0.0, "max_size": 500, "scale_jitter": (2.0, 2.0)}
    image, _ = augment(sample(), np.random.default_rng(0), CONFIG.model_copy(update=still))
    assert image.shape == (3, 40, 67)  # 50 * 40/30 = 66.7


def test_large_scale_jitter_is_what_augment_does_when_asked():
    config = DataConfig(path="x", lsj_size=64, scale_jitter=(0.1, 2.0), train_min_sizes=(999,), flip=0.5)
    for seed in range(10):
        image, target = augment(sample(), np.random.default_rng(seed), config)
        again, _ = augment(sample(), np.random.default_rng(seed), config)
        assert tuple(image.shape) == (3, 64, 64)
        assert (image == again).all()
        assert target.image_size == (64, 64)


TURNED = {"vflip": 0.5, "quarter_turns": 0.5, "rotate": 15.0}


@pytest.mark.parametrize("pasted", [False, True])
@pytest.mark.parametrize("lsj_size", [0, 64])
@pytest.mark.parametrize("kind", ["masks", "boxes", "both", "empty"])
def test_turned_and_pasted_images_keep_the_contract(kind, lsj_size, pasted):
    config = CONFIG.model_copy(update={**TURNED, "lsj_size": lsj_size, "scale_jitter": (0.3, 2.0)})
    mixed = replace(sample(), has_mask=np.array([True, False]))
    mixed.masks[1] = False
    image = {"masks": sample(), "boxes": sample(masks=False), "both": mixed, "empty": empty()}[kind]
    rng = np.random.default_rng(0)
    shapes = set()
    for number in range(60):
        donor = Donor([sample(40, 64), mixed, empty()][number % 3], np.random.default_rng(number))
        pixels, target = augment(image, rng, config, donor if pasted else None)
        shapes.add(tuple(pixels.shape))
        check_contract(pixels, target)
        if target.masks is not None:
            assert (target.masks.flatten(1).any(1) == target.has_mask).all()
    assert shapes == {(3, 64, 64)} if lsj_size else len({h > w for _, h, w in shapes}) == 2


def test_what_is_off_draws_nothing():
    """Every key's draws come only where it is on, so that a training without them stays what it was."""
    off = np.random.default_rng(3)
    augment(sample(), off, CONFIG)
    for key, value in TURNED.items():
        on = np.random.default_rng(3)
        augment(sample(), on, CONFIG.model_copy(update={key: value}))
        assert on.bit_generator.state != off.bit_generator.state
    still = CONFIG.model_copy(update={"crop": 0.0, "color_jitter": 0.0})
    used, by_hand = np.random.default_rng(3), np.random.default_rng(3)
    augment(sample(), used, still)
    by_hand.random()  # crop or not
    by_hand.choice(still.train_min_sizes)
    by_hand.uniform(*still.scale_jitter)
    by_hand.random()  # flip or not
    assert used.bit_generator.state == by_hand.bit_generator.state
