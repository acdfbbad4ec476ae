"""Writing COCO's format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dprd_cli.data.formats.coco import annotation_area
from dprd_cli.data.formats.conversion_split import ConversionSplit
from dprd_cli.data.formats.ids import TEXT_ID
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import CocoEntry, CocoTree


@dataclass(frozen=True, slots=True)
class CocoWriter:
    """Writes `train.json` and `val.json` beside `images/`. Nothing is lost.

    Args:
        folder: Folder that is written to.
    """

    folder: Path

    def image_path(self, split: ConversionSplit, file_name: str) -> Path:
        """Return where an image goes."""
        return self.folder / "images" / split.names[file_name]

    def write(self, split: ConversionSplit, progress: Progress) -> None:
        """Write a split's json, whole or not at all."""
        sizes = {image["id"]: (image["height"], image["width"]) for image in split.tree["images"]}
        tree: CocoTree = {
            **{key: split.tree[key] for key in ("info", "licenses") if key in split.tree},
            "images": [
                {**_without(image, "strays", TEXT_ID), "file_name": split.names[image["file_name"]]}
                for image in split.tree["images"]
            ],
            "annotations": [
                self._annotation(ann, split, sizes[ann["image_id"]]) for ann in split.tree["annotations"]
            ],
            "categories": [_without(one, TEXT_ID) for one in split.tree["categories"]],
        }
        path = self.folder / f"{split.name}.json"
        temporary = path.with_suffix(".json.part")
        temporary.write_text(json.dumps(tree), encoding="utf-8")
        temporary.replace(path)
        progress(len(tree["images"]), len(tree["images"]))

    @staticmethod
    def _annotation(ann: CocoEntry, split: ConversionSplit, size: tuple[int, int]) -> CocoEntry:
        written = {"iscrowd": 0, **_without(ann, "where", "difficult")}
        if ann.get("area") is None:
            written["area"] = annotation_area(ann, size)
        if ann.get("segmentation") is None:
            written.pop("segmentation", None)
        if ann.get("difficult"):
            written |= {"difficult": 1, "iscrowd": int(split.name != "train")}
        return written


def _without(entry: CocoEntry, *keys: str) -> CocoEntry:
    return {key: value for key, value in entry.items() if key not in keys}
