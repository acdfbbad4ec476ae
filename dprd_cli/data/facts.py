"""What the schedule `auto` must know of a data set, read from its annotations."""

from __future__ import annotations

import numpy as np

from dprd_cli.config.facts import DataFacts
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset
from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.errors import UsageError

_SMALL = 0.1  # quantile


def data_facts(config: DataConfig) -> DataFacts:
    """Read both splits' annotations and say what they hold; no image is read.

    Args:
        config: Where the data is.

    Raises:
        DataError: If a split is missing or broken.
        UsageError: If it is the built-in data.
    """
    train = build_dataset(config, "train")
    if not isinstance(train, CocoDataset):
        raise UsageError("--schedule auto is for your own data; the built-in data has the schedule small")
    val = build_dataset(config, "val", training=train)
    per_image = train.objects_per_image
    short = train.sizes.min(axis=1)
    sides = np.sqrt((train.boxes[:, 2:] - train.boxes[:, :2]).prod(axis=1)) / np.repeat(short, per_image)
    return DataFacts(
        images=len(train),
        with_objects=int((per_image > 0).sum()),
        objects=len(train.labels),
        masks=int(train.has_mask.sum()),
        classes=len(train.class_names),
        short_side=float(np.median(short)),
        small_object=float(np.quantile(sides, _SMALL)) if len(sides) else 0.0,
        val_images=len(val),
    )


def count_training_images(config: DataConfig) -> int:
    """Return how many images an epoch has.

    Raises:
        DataError: If the training split is missing or broken.
    """
    return len(build_dataset(config, "train"))
