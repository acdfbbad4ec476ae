"""What a split holds, in lines to print before it is used."""

from __future__ import annotations

from collections import Counter

import numpy as np

from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.data.formats.problems import plural
from dprd_cli.structures.sample import Dataset


def describe(dataset: Dataset) -> list[str]:
    """Return lines that say what a split holds: sizes, masks, classes, and what the check found."""
    start, classes = (
        f"{dataset.name}: {plural(len(dataset), 'picture')}",
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
    if dataset.is_voc and dataset.report.num_crowds:
        lines.append(f"  {plural(dataset.report.num_crowds, 'difficult object')}, ignored in evaluation")
    absent = [name for label, name in enumerate(dataset.class_names) if label not in counts]
    if absent:
        lines.append(f"  no object of {plural(len(absent), 'class')}: {', '.join(absent)}")
    return lines + [f"  warning: {line}" for line in dataset.report.warnings]
