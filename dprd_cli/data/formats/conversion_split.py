"""A split on its way into another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(slots=True)
class Split:
    """One split on its way into another format.

    Attributes:
        name: `train` or `val`.
        tree: Its annotations in COCO's form.
        images_dir: Folder that the `file_name`s are relative to.
        names: New name of each `file_name`, without folders; stems differ.
        changes: What the target format cannot hold -> how often, filled while writing.
    """

    name: Literal["train", "val"]
    tree: dict[str, Any]
    images_dir: Path
    names: dict[str, str]
    changes: Counter[str] = field(default_factory=Counter)

    def by_image(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield every image with its annotations."""
        notes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in self.tree["images"]}
        for note in self.tree["annotations"]:
            notes[note["image_id"]].append(note)
        for image in self.tree["images"]:
            yield image, notes[image["id"]]
