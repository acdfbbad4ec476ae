"""Writing COCO's format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.data.formats.coco import annotation_area
from dprd_cli.data.formats.conversion_split import Split
from dprd_cli.runtime.progress import Progress


@dataclass(frozen=True, slots=True)
class CocoWriter:
    """Writes `train.json` and `val.json` beside `images/`. Nothing is lost.

    Args:
        folder: Where.
    """

    folder: Path

    def image_path(self, split: Split, file_name: str) -> Path:
        """Return where an image goes."""
        return self.folder / "images" / split.names[file_name]

    def write(self, split: Split, progress: Progress) -> None:
        """Write a split's json, whole or not at all."""
        sizes = {image["id"]: (image["height"], image["width"]) for image in split.tree["images"]}
        tree: dict[str, Any] = {
            **{key: split.tree[key] for key in ("info", "licenses") if key in split.tree},
            "images": [
                {**_without(image, "strays"), "file_name": split.names[image["file_name"]]}
                for image in split.tree["images"]
            ],
            "annotations": [
                self._annotation(note, split, sizes[note["image_id"]]) for note in split.tree["annotations"]
            ],
            "categories": split.tree["categories"],
        }
        path = self.folder / f"{split.name}.json"
        temporary = path.with_suffix(".json.part")
        temporary.write_text(json.dumps(tree), encoding="utf-8")
        temporary.replace(path)

    @staticmethod
    def _annotation(note: dict[str, Any], split: Split, size: tuple[int, int]) -> dict[str, Any]:
        written = {"iscrowd": 0, **_without(note, "where", "difficult")}
        if note.get("area") is None:
            written["area"] = annotation_area(note, size)
        if note.get("segmentation") is None:
            written.pop("segmentation", None)
        if note.get("difficult"):
            written |= {"difficult": 1, "iscrowd": int(split.name == "val")}
        return written


def _without(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}
