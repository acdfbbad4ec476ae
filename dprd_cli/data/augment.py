"""Random changes of an image and its objects in training."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from dprd_cli.config import registry
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.copy_paste import Donor, copy_paste
from dprd_cli.data.rotation import rotate, turn
from dprd_cli.data.transforms import (
    change_color,
    crop,
    flip,
    jitter_scale,
    random_window,
    resize,
    resize_shape,
    to_tensors,
)
from dprd_cli.structures.detections import Target
from dprd_cli.structures.sample import Sample


class Draw(NamedTuple):
    """What an augmentation may use.

    Args:
        rng: Source of all randomness but the donor's.
        config: The data section.
        donor: Another image, whose objects are pasted over this one; None: nothing is pasted.
    """

    rng: np.random.Generator
    config: DataConfig
    donor: Donor | None = None


class Augmentation(Protocol):
    """Changes a training image; `registry.augmentation` has them by name."""

    def __call__(self, sample: Sample, draw: Draw) -> Sample:
        """Return the image with its objects, changed; what it is given stays as it is."""
        ...


def augment(
    sample: Sample, rng: np.random.Generator, config: DataConfig, donor: Donor | None = None
) -> tuple[Tensor, Target]:
    """Change an image at random, for training, as the augmentations do that `config.augmentations` names.

    By default first its geometry (`change_geometry`); then objects of the donor, changed likewise, are
    pasted; then the colours of it all. The result is a function of the samples, the generators' states and
    the config alone, and what is off draws nothing.

    Args:
        sample: An image with its objects.
        rng: Source of all randomness but the donor's.
        config: `augmentations`, and the keys that each of them uses.
        donor: Another image, whose objects are pasted.

    Returns:
        The image, uint8 RGB [3, h, w], and its objects in the image's frame.
    """
    draw = Draw(rng, config, donor)
    for name in config.augmentations:
        sample = registry.augmentation.call(name, sample, draw)
    return to_tensors(sample)


def _geometry(sample: Sample, draw: Draw) -> Sample:
    return change_geometry(sample, draw.rng, draw.config)


def _copy_paste(sample: Sample, draw: Draw) -> Sample:
    if draw.donor is None:
        return sample
    other = change_geometry(draw.donor.sample, draw.donor.rng, draw.config)
    return copy_paste(sample, other, draw.donor.rng)


def _color(sample: Sample, draw: Draw) -> Sample:
    strength = draw.config.color_jitter
    if not strength:
        return sample
    brightness, contrast, saturation = draw.rng.uniform(1 - strength, 1 + strength, size=3)
    return replace(sample, image=change_color(sample.image, brightness, contrast, saturation))


registry.augmentation.update(geometry=_geometry, copy_paste=_copy_paste, color=_color)


def change_geometry(sample: Sample, rng: np.random.Generator, config: DataConfig) -> Sample:
    """Turn, cut, resize and mirror an image at random.

    In this order: a quarter turn, a turn by a small angle, crop, resize (short side from
    `train_min_sizes`, times `scale_jitter`), or both as large-scale jitter asks (`lsj_size`), horizontal
    flip, vertical flip.

    Args:
        sample: An image with its objects.
        rng: Source of all randomness.
        config: `quarter_turns`, `rotate`, `crop`, `train_min_sizes`, `scale_jitter`, `max_size`, `lsj_size`,
            `flip` and `vflip` are used.
    """
    sample = _turn(sample, rng, config)
    if config.lsj_size:
        sample = jitter_scale(sample, rng, config.lsj_size, config.scale_jitter)
    else:
        if rng.random() < config.crop:
            sample = crop(sample, random_window(sample, rng))
        short = rng.choice(config.train_min_sizes) * rng.uniform(*config.scale_jitter)
        height, width = sample.image.shape[:2]
        sample = resize(sample, resize_shape(height, width, short, config.max_size))
    if rng.random() < config.flip:
        sample = flip(sample)
    if config.vflip and rng.random() < config.vflip:
        sample = flip(sample, vertical=True)
    return sample


def _turn(sample: Sample, rng: np.random.Generator, config: DataConfig) -> Sample:
    if config.quarter_turns and rng.random() < config.quarter_turns:
        sample = turn(sample, int(rng.integers(1, 4)))
    if config.rotate:
        sample = rotate(sample, rng.uniform(-config.rotate, config.rotate))
    return sample
