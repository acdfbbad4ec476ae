"""Telling annotation programs' json files apart, from their beginnings, because the files are large."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

JsonKind: TypeAlias = Literal["coco", "datumaro", "via", "labelme", ""]

_HEAD = 1 << 16  # bytes that are looked at
_MOST = 12  # files of a folder that are looked at: where each image has its own, these show it
_SIGNS: tuple[tuple[JsonKind, re.Pattern[str]], ...] = (
    ("labelme", re.compile(r'"shapes"\s*:\s*\[')),
    ("via", re.compile(r'"(_via_img_metadata|shape_attributes|regions)"\s*:')),
    ("datumaro", re.compile(r'"categories"\s*:\s*\{|"items"\s*:\s*\[')),
    ("coco", re.compile(r'"(images|annotations)"\s*:\s*\[')),
)
#: Kinds of COCO's files that hold no instances.
_NO_INSTANCES = re.compile(r"caption|panoptic|image_info|stuff", re.IGNORECASE)


def json_kind(path: Path) -> JsonKind:
    """Return whose annotations a json file holds, by the first keys that say so; empty if nobody's."""
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
    if not text.lstrip().startswith("{"):
        return ""
    found = [(match.start(), kind) for kind, sign in _SIGNS if (match := sign.search(text))]
    return min(found)[1] if found else ""


def find_json(root: Path, kind: JsonKind, depth: int = 2) -> list[Path]:
    """Return the files of a kind in a folder and the folders in it, by name; hidden ones are left out.

    Of a folder with many files only the first are looked at.

    Args:
        root: Where to look; a file stands for itself.
        kind: Whose annotations.
        depth: How many folders deep.
    """
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" and json_kind(root) == kind else []
    return [path for path in _candidates(root, depth) if json_kind(path) == kind]


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return
    files = [path for path in entries if path.suffix.lower() == ".json" and path.is_file()]
    yield from [path for path in files if not _NO_INSTANCES.search(path.name)][:_MOST]
    if depth > 1:
        for path in entries:
            if path.is_dir():
                yield from _candidates(path, depth - 1)
