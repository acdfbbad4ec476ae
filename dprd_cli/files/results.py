"""Names and ids of images in results: names that never collide, ids that stay."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dprd_cli.files.images import image_suffix

_LONGEST = 180  # bytes of a file name's stem, so that endings fit below the usual 255

# Windows' devices: no file of these names can be made there, whatever its ending
_DEVICES = (
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)),
)


def image_names(paths: Sequence[Path], suffix: str = "", reserved: Sequence[str] = ()) -> list[str]:
    """Return a file name for each image's drawing, no two alike even where case does not count.

    Args:
        paths: The images; equal names from different folders get `-2`, `-3`, ...
        suffix: Ending of all names; by default `.jpg` for JPEGs and `.png` for the rest.
        reserved: Names (without suffix) that other files of the folder have.
    """
    taken = {name.lower() for name in (*reserved, *_DEVICES)}
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
