"""A loader process's work: the image at a position of the shuffled order, and handing over a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.augment import augment
from dprd_cli.data.copy_paste import Donor
from dprd_cli.data.image_order import ImageOrder, Visit
from dprd_cli.data.repeat_sampling import repeat_factors
from dprd_cli.errors import DataError
from dprd_cli.structures.detections import Target
from dprd_cli.structures.sample import Dataset

OR_SKIP = " (or pass --set data.on_bad_image=skip)"


@dataclass(frozen=True, slots=True)
class TrainItem:
    """A loaded image, or the error that stops the run, and the files that were skipped on the way.

    Args:
        image: RGB, uint8, or None at an error. [3, h, w]
        target: Its objects, in the frame of `image`.
        skipped: (file, what is wrong with it) of each image that cannot be read, before this one.
        error: The line that ends the run; empty where there is an image.
    """

    image: Tensor | None = None
    target: Target | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class TrainReader:
    """Reads the image at a position of the endless shuffled order; runs in the loader processes.

    Args:
        dataset: A training split.
        config: Augmentation, `copy_paste`, `repeat_threshold` and `on_bad_image`.
        seed: Seed of the order and the augmentation.
    """

    dataset: Dataset
    config: DataConfig
    seed: int

    @cached_property
    def order(self) -> ImageOrder:
        """The order of the images."""
        threshold = self.config.repeat_threshold
        factors = repeat_factors(self.dataset, threshold) if threshold else None
        return ImageOrder(self.seed, len(self.dataset), factors)

    def __getitem__(self, position: int) -> TrainItem:
        place = self.order[position]
        skipped: list[tuple[str, str]] = []
        for visit in self.order.from_position(position):
            try:
                sample, donor = self.dataset[visit.image], self._donor(place, visit.image)
            except DataError as error:
                if self.config.on_bad_image == "error":
                    return TrainItem(error=f"{error}{OR_SKIP}")
                skipped.append((str(error).partition(":")[0], str(error)))
                continue
            changed = augment(sample, self._rng(1, place), self.config, donor)
            return TrainItem(*changed, skipped=tuple(skipped))
        return TrainItem(error=f"{self.dataset.name}: no image can be read; first: {skipped[0][1]}")

    def _donor(self, place: Visit, image: int) -> Donor | None:
        """Return the image whose objects are pasted over another, if any are."""
        rng, others = self._rng(2, place), len(self.dataset) - 1
        if not others or rng.random() >= self.config.copy_paste:
            return None
        return Donor(self.dataset[(image + int(rng.integers(1, others, endpoint=True))) % (others + 1)], rng)

    def _rng(self, purpose: int, visit: Visit) -> np.random.Generator:
        """Return the source of randomness of a visit; every purpose has its own."""
        repeat = [visit.repeat] if visit.repeat else []
        return np.random.default_rng([purpose, self.seed, visit.epoch, visit.image, *repeat])


@dataclass(frozen=True, slots=True)
class _ItemHeader:
    """All of a `TrainItem` but its large tensors, image and masks."""

    image_size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    has_mask: NDArray[np.bool_]
    with_masks: bool
    image_id: int
    cues: NDArray[np.float32] | None
    skipped: tuple[tuple[str, str], ...]


#: All images and masks of a batch as one row of bytes, and the rest of each item.
PackedItems: TypeAlias = tuple[NDArray[np.uint8], list[_ItemHeader | TrainItem]]


def pack(items: Sequence[TrainItem]) -> PackedItems:
    """Put all images and masks of a batch into one array, which goes from process to process uncopied."""
    blocks: list[Tensor] = [torch.empty(0, dtype=torch.uint8)]
    headers: list[_ItemHeader | TrainItem] = []
    for item in items:
        target = item.target
        if item.image is None or target is None:
            headers.append(item)
            continue
        blocks.append(item.image.flatten())
        if target.masks is not None:
            blocks.append(target.masks.flatten().view(torch.uint8))
        headers.append(
            _ItemHeader(
                target.image_size,
                target.boxes.numpy(),
                target.labels.numpy(),
                target.has_mask.numpy(),
                target.masks is not None,
                target.image_id,
                None if target.cues is None else target.cues.numpy(),
                item.skipped,
            )
        )
    return torch.cat(blocks).numpy(), headers


def unpack(packed: PackedItems) -> list[TrainItem]:
    """Undo `pack`; images and masks are views of the one array. `unpack(pack(items)) == items`."""
    content, headers = packed
    rest = torch.from_numpy(content)
    items: list[TrainItem] = []
    for one in headers:
        if isinstance(one, TrainItem):
            items.append(one)
            continue
        height, width = one.image_size
        image, rest = rest[: 3 * height * width], rest[3 * height * width :]
        masks = None
        if one.with_masks:
            length = len(one.boxes) * height * width
            masks, rest = rest[:length].view(torch.bool).view(-1, height, width), rest[length:]
        target = Target(
            boxes=torch.from_numpy(one.boxes),
            labels=torch.from_numpy(one.labels),
            image_size=one.image_size,
            masks=masks,
            has_mask=torch.from_numpy(one.has_mask),
            image_id=one.image_id,
            cues=None if one.cues is None else torch.from_numpy(one.cues),
        )
        items.append(TrainItem(image.view(3, height, width), target, one.skipped))
    return items
