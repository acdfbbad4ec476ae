"""The built-in data as files in COCO's format."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import built_in_dataset
from dprd_cli.data.synthetic.base import BuiltInDataset
from dprd_cli.files.atomic import writing
from dprd_cli.files.images import encode_png
from dprd_cli.files.output_folder import new_folder
from dprd_cli.runtime.progress import progress
from dprd_cli.structures.sample import SPLITS, Split


def write_splits(
    folder: Path, config: DataConfig, splits: Sequence[Split] = SPLITS
) -> Iterator[tuple[Split, Path]]:
    """Write splits of the built-in data into a new folder, as `write_coco` does.

    Args:
        folder: Where to write; must be empty or missing.
        config: Which built-in data (`path`), and its `synthetic_*` and `signpost` keys.
        splits: Which splits.

    Yields:
        Each split and its annotation file, when it is written.

    Raises:
        UsageError: If the folder holds anything.
        ResourceError: If the disk is full.
        DataError: If a file cannot be written for another reason.
    """
    with new_folder(folder):
        for split in splits:
            yield split, write_coco(built_in_dataset(config, split), folder)


def write_coco(dataset: BuiltInDataset, folder: str | os.PathLike[str]) -> Path:
    """Write a split as `<split>.json` and `images/<split>_000000.png` …, which hold the very same samples.

    The annotation file is written last and at once, so an interrupted run leaves none that is incomplete.

    Args:
        dataset: The split.
        folder: Where to write; made where missing.

    Returns:
        Path of the annotation file.

    Raises:
        ResourceError: If the disk is full.
        DataError: If a file cannot be written for another reason.
    """
    folder = Path(folder)
    target = folder / f"{dataset.split}.json"
    partial = target.with_suffix(".json.part")
    tree = dataset.coco_header()
    with writing(folder), contextlib.ExitStack() as cleaning:
        cleaning.callback(partial.unlink, missing_ok=True)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        with progress(f"draw the {dataset.split} images") as show:
            for index in range(len(dataset)):
                sample = dataset[index]
                dataset.add_sample(tree, sample)
                (folder / "images" / sample.file_name).write_bytes(encode_png(sample.image))
                show(index + 1, len(dataset))
        partial.write_text(json.dumps(tree), encoding="utf-8")
        partial.replace(target)
    return target
