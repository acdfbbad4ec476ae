"""A split on its way into another format, and what the system may say against writing it."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dprd_cli.errors import DataError, ResourceError


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


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn the system's errors in writing a data set into lines.

    Raises:
        ResourceError: If the disk is full.
        DataError: If the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        where, reason = error.filename2 or error.filename or folder, error.strerror or error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{where}: no space for the data set ({reason}); free some space") from error
        if error.errno == errno.EXDEV:
            raise DataError(
                f"{where}: on another disk, where no link can lead; pass --images copy"
            ) from error
        raise DataError(f"{where}: cannot write the data set ({reason}); choose another folder") from error
