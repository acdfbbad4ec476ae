"""Which image is at a position of the endless shuffled order that training goes through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.repeat_sampling import Floats, draw_repeats, epoch_length

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Visit:
    """An image's turn in an epoch.

    Args:
        epoch: Number of the epoch, from 0.
        image: Number of the image in the data set.
        repeat: How often the epoch has shown it before (in no particular order).
    """

    epoch: int
    image: int
    repeat: int = 0


@dataclass(frozen=True, eq=False)
class ImageOrder:
    """The order, a pure function of (seed, number of images, repeat factors).

    Epoch after epoch, each is a permutation of all images, those that are repeated as often as
    `draw_repeats` says; where no factor exceeds 1 it is the permutation that it is without factors.

    Args:
        seed: Seed of the order.
        num_images: Number of images, N.
        factors: Repeat factors, or None where each image comes once an epoch. [N]
    """

    seed: int
    num_images: int
    factors: Floats | None = None

    @cached_property
    def epoch_length(self) -> int:
        """Number of positions of every epoch."""
        return self.num_images if self.factors is None else epoch_length(self.factors)

    def __getitem__(self, position: int) -> Visit:
        return next(self.from_position(position))

    def from_position(self, position: int) -> Iterator[Visit]:
        """Yield the visit at a position, then the others of its epoch: those after it, those before."""
        epoch, offset = divmod(position, self.epoch_length)
        images, repeats = _epoch(self, epoch)
        for place in chain(range(offset, len(images)), range(offset)):
            yield Visit(epoch, int(images[place]), int(repeats[place]))


@lru_cache(maxsize=4)
def _epoch(order: ImageOrder, epoch: int) -> tuple[Integers, Integers]:
    """Return image and repeat at each position of an epoch. [L], [L]."""
    images = np.arange(order.num_images)
    repeats = np.zeros_like(images)
    if order.factors is not None:
        counts = draw_repeats(order.factors, np.random.default_rng([3, order.seed, epoch]))
        images = np.repeat(images, counts)
        repeats = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)
    shuffled = np.random.default_rng([0, order.seed, epoch]).permutation(len(images))
    return images[shuffled], repeats[shuffled]
