"""Where results go: names that never collide, images, tables, and files that are valid at every moment."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.files.images import image_suffix

_LONGEST = 180  # bytes of a file name's stem, so that endings fit below the usual 255


def output_folder(folder: Path, inputs: Sequence[Path], subfolders: Sequence[str] = ()) -> Path:
    """Create the folder for results, and refuse one that would overwrite the images given.

    Args:
        folder: Where results go.
        inputs: Files that are read.
        subfolders: Folders in it that are written to.

    Raises:
        UsageError: If it is a file, or it (or one of the subfolders, however deep) holds one of the inputs.
        ResourceError: If it cannot be created.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: a file; choose a folder")
    place = Path(os.path.realpath(folder))  # which, unlike resolve(), takes names of any length, and loops
    below = {place / name for name in subfolders}
    real = (Path(os.path.realpath(path)) for path in inputs)
    if any(path.parent == place or below & {*path.parents} for path in real):
        raise UsageError(f"--out {folder}: holds images that are read; choose another folder")
    make_folder(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, where they are missing.

    Raises:
        ResourceError: If it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot create the folder ({error.strerror})") from error


def check_is_empty(folder: Path) -> None:
    """Refuse a place that holds anything, for data sets are never mixed.

    Raises:
        UsageError: If it is a file, or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty; choose another folder")


def image_names(paths: Sequence[Path], suffix: str = "", reserved: Sequence[str] = ()) -> list[str]:
    """Return a file name for each image's drawing, no two alike even where case does not count.

    Args:
        paths: The images; equal names from different folders get `-2`, `-3`, ...
        suffix: Ending of all names; by default `.jpg` for JPEGs and `.png` for the rest.
        reserved: Names (without suffix) that other files of the folder have.
    """
    taken = {name.lower() for name in reserved}
    counts: dict[str, int] = {}
    names = []
    for path in paths:
        first = os.fsdecode(os.fsencode(path.stem)[:_LONGEST])
        number, stem = counts.get(first.lower(), 1), first
        while stem.lower() in taken:
            number += 1
            stem = f"{first}-{number}"
        counts[first.lower()] = number
        taken.add(stem.lower())
        names.append(stem + (suffix or image_suffix(path)))
    return names


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Return COCO image ids: the names' numbers if all are different, of at most 15 digits, else 1..N.

    `2007_000027`, as Pascal VOC names its images, is 2007000027. It is the one rule wherever there is no
    annotation file with ids: VOC and YOLO folders, and images that are predicted on.
    """
    stems = [re.sub(r"^(\d{4})_(\d{6})$", r"\1\2", path.stem) for path in paths]
    if all(stem.isascii() and stem.isdigit() and len(stem.lstrip("0")) < 16 for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(paths) + 1))
