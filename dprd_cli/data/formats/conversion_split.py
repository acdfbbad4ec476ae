"""A split on its way into another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dprd_cli.structures.sample import CocoEntry, CocoTree

SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(slots=True)
class ConversionSplit:
    """One split on its way into another format.

    Attributes:
        name: `train`, `val` or `test`.
        tree: Its annotations in COCO's form.
        images_dir: Folder that the `file_name`s are relative to.
        names: New name of each `file_name`, without folders; stems differ.
        changes: What the target format cannot hold -> how often, filled while writing.
    """

    name: SplitName
    tree: CocoTree
    images_dir: Path
    names: dict[str, str]
    changes: Counter[str] = field(default_factory=Counter)

    def by_image(self) -> Iterator[tuple[CocoEntry, list[CocoEntry]]]:
        """Yield every image with its annotations."""
        anns: dict[int, list[CocoEntry]] = {image["id"]: [] for image in self.tree["images"]}
        for ann in self.tree["annotations"]:
            anns[ann["image_id"]].append(ann)
        for image in self.tree["images"]:
            yield image, anns[image["id"]]
