"""Writing YOLO's format: `data.yaml`, images and label files of polygons, or of boxes without masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from dprd_cli.data.formats.conversion_split import ConversionSplit
from dprd_cli.data.formats.object_checks import clip_box, is_degenerate
from dprd_cli.data.formats.polygons import one_ring
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import CocoEntry


@dataclass(frozen=True, slots=True)
class YoloWriter:
    """Writes `images/SPLIT/`, `labels/SPLIT/` and `data.yaml`.

    A mask of several pieces, or with holes, becomes one polygon with bridges of no width.

    Args:
        folder: Folder that is written to.
        class_names: Names of the class numbers 0, 1, ...
    """

    folder: Path
    class_names: Sequence[str]

    def image_path(self, split: ConversionSplit, file_name: str) -> Path:
        """Return where an image goes."""
        return self.folder / "images" / split.name / split.names[file_name]

    def write(self, split: ConversionSplit, progress: Progress) -> None:
        """Write a split's label files, and the description."""
        labels = self.folder / "labels" / split.name
        labels.mkdir(parents=True, exist_ok=True)
        (self.folder / "images" / split.name).mkdir(parents=True, exist_ok=True)
        names = {one["id"]: one["name"] for one in split.tree["categories"]}
        numbers = {ident: self.class_names.index(name) for ident, name in names.items()}
        total = len(split.tree["images"])
        for done, (image, anns) in enumerate(split.by_image(), start=1):
            size = image["height"], image["width"]
            lines = [line for ann in anns if (line := _line(ann, numbers, size, split))]
            if len({len(line.split()) == 5 for line in lines}) > 1:
                split.changes[
                    "images whose objects have masks and boxes, which Ultralytics does not read"
                ] += 1
            path = labels / f"{Path(split.names[image['file_name']]).stem}.txt"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            progress(done, total)
        tree = {"train": "images/train", "val": "images/val"}
        text = yaml.safe_dump(
            {**tree, "names": dict(enumerate(self.class_names))}, sort_keys=False, allow_unicode=True
        )
        (self.folder / "data.yaml").write_text(text, encoding="utf-8")


def _line(ann: CocoEntry, numbers: dict[int, int], size: tuple[int, int], split: ConversionSplit) -> str:
    """Return an object's line; empty if it has none."""
    if ann.get("iscrowd", 0) and not ann.get("difficult"):
        split.changes["crowds left out: YOLO has none"] += 1
        return ""
    if ann.get("difficult"):
        split.changes["difficult objects no longer marked: YOLO has no mark"] += 1
    if is_degenerate(ann["bbox"], size):
        split.changes["objects left out: the box, clipped to the image, has no area"] += 1
        return ""
    height, width = size
    ring, pieces = one_ring(ann.get("segmentation"), size)
    if ring is not None:
        if pieces > 1:
            split.changes["masks of several pieces or with holes joined into one polygon, exactly"] += 1
        values = np.clip(ring / [width, height], 0, 1).ravel()
    else:
        x1, y1, x2, y2 = clip_box(ann["bbox"], size)
        values = np.array(
            [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        )
    texts = (f"{value:.6f}".rstrip("0").rstrip(".") for value in values.tolist())
    return f"{numbers[ann['category_id']]} {' '.join(texts)}"
