"""Building the data set of a split: built-in, or found and checked in a folder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.presence import check_presence
from dprd_cli.data.splits import read_split, warn_of_overlap
from dprd_cli.data.synthetic.base import BuiltInDataset
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.data.synthetic.signpost import SignpostDataset
from dprd_cli.errors import DataError
from dprd_cli.runtime.progress import stage
from dprd_cli.structures.sample import Dataset, Split


def build_dataset(
    config: DataConfig,
    split: Split,
    *,
    class_names: tuple[str, ...] | None = None,
    category_ids: tuple[int, ...] | None = None,
    training: Dataset | None = None,
) -> Dataset:
    """Build a split: built-in, or found and checked in a folder (see `splits`).

    Args:
        config: Where the data is, and which of it is used.
        split: Which one.
        class_names: Classes of a checkpoint, which the data must agree with.
        category_ids: Category id of each of them.
        training: The training split, where this is the evaluation split beside it: it has the same classes,
            and images of both are warned of.

    Raises:
        DataError: If the split is missing or broken, or has other classes.
    """
    if training is not None:
        class_names, category_ids = training.class_names, training.category_ids
    if config.built_in and not (config.train_json or config.val_json):
        built_in = built_in_dataset(config, split)
        if class_names not in (None, built_in.class_names):
            raise DataError(
                f"the built-in data has the classes {first_five(built_in.class_names)}, which are not "
                "those of the checkpoint; pass the data that it was trained for with --data FOLDER"
            )
        return built_in
    with stage(f"read the {split} annotations"):
        dataset = _from_files(config, split, class_names, category_ids)
        if isinstance(training, CocoDataset):
            problems = dataset.report.problems
            warn_of_overlap(training.paths(), dataset.images_dir, dataset.file_names, problems)
    return dataset


def built_in_dataset(config: DataConfig, split: Split) -> BuiltInDataset:
    """Return a split of the built-in data that `config.path` names."""
    length = config.synthetic_train if split == "train" else config.synthetic_val
    length = min(length, config.limit or length)
    size, seed = config.synthetic_size, config.synthetic_seed
    if config.path == SignpostDataset.kind:
        return SignpostDataset(split, length, size, seed, config.signpost)
    return SyntheticDataset(split, length, size, seed)


def _from_files(
    config: DataConfig,
    split: Split,
    class_names: tuple[str, ...] | None,
    category_ids: tuple[int, ...] | None,
) -> CocoDataset:
    classes = None
    if class_names is not None:
        classes = dict(zip(class_names, category_ids or range(1, len(class_names) + 1), strict=True))
    files = read_split(config, split, classes)
    if files.annotations.is_voc and split == "train" and not config.skip_difficult:
        for ann in files.tree["annotations"]:
            ann["iscrowd"] = 0  # a target like any other; evaluation reads the files anew, and ignores it
    dataset = CocoDataset(
        files.annotations,
        config,
        split,
        class_names=class_names,
        category_ids=category_ids,
        tree=files.tree,
        problems=files.problems,
    )
    if split == "train":
        lacking, left_out = Problems(), len(dataset.report.degenerate)
        check_presence(files.tree, split, files.annotations.name, lacking, left_out=left_out)
        lacking.stop()
    return dataset


def fingerprint(dataset: Dataset) -> str:
    """Return what is the same for the same images in the same order, wherever they lie; "" if built in."""
    if not isinstance(dataset, CocoDataset):
        return ""
    rows = [[int(number), name] for number, name in zip(dataset.image_ids, dataset.file_names, strict=True)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def describe(dataset: Dataset) -> list[str]:
    """Return lines that say what a split holds: sizes, masks, classes, and what the check found."""
    start, classes = (
        f"{dataset.name}: {plural(len(dataset), 'image')}",
        plural(len(dataset.class_names), "class"),
    )
    if not isinstance(dataset, CocoDataset):
        return [f"{start}, {classes}: {', '.join(dataset.class_names)}"]
    total, masks = len(dataset.labels), int(dataset.has_mask.sum())
    kind = f"{masks} with masks, {total - masks} without"
    if masks in (0, total):
        kind = "all with masks" if masks else "boxes only, no masks"
    empty = len(dataset) - int(np.count_nonzero(dataset.objects_per_image))
    counts = Counter(dataset.labels.tolist())
    shown = [f"{dataset.class_names[label]} {number}" for label, number in counts.most_common(12)]
    more = f", and {len(counts) - len(shown)} rarer" if len(counts) > len(shown) else ""
    lines = [
        f"{start} ({empty} without objects), {plural(total, 'object')} ({kind})",
        f"  {classes}: {', '.join(shown)}{more}",
    ]
    if dataset.num_skipped:
        lines.append(f"  {plural(dataset.num_skipped, 'image')} without objects left out (data.skip_empty)")
    if dataset.is_voc and dataset.report.num_crowds:
        lines.append(f"  {plural(dataset.report.num_crowds, 'difficult object')}, ignored in evaluation")
    absent = [name for label, name in enumerate(dataset.class_names) if label not in counts]
    if absent:
        lines.append(f"  no object of {plural(len(absent), 'class')}: {', '.join(absent)}")
    held = dataset.report.problems.kinds.get("held out")
    lines += [f"  {held.message}"] if held is not None and dataset.split == "train" else []
    return lines + [f"  warning: {line}" for line in dataset.report.warnings]
