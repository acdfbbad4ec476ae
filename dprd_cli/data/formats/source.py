"""What finding a data set gives: its parts, and how to open each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.annotations import Annotations

#: What a folder or file of annotations is for; `all` is not divided yet.
Part: TypeAlias = Literal["train", "val", "test", "all"]
#: Category id of each class name, of a training split or checkpoint.
Classes: TypeAlias = dict[str, int] | None
#: Opens a part; raises a DataError where it cannot be used.
Opener: TypeAlias = Callable[[Classes], Annotations]

_WORDS: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True)
class DataSource:
    """A data set that was found.

    Args:
        kind: The format, for messages.
        place: Its folder or file, for messages.
        parts: How to open each part that is there.
        missing: What was looked for, where a part is not there, in words.
    """

    kind: str
    place: Path
    parts: Mapping[Part, Opener] = field(default_factory=dict)
    missing: dict[Part, str] = field(default_factory=dict)


class Finder(Protocol):
    """Recognises a format: each module of this package that reads one has such a function."""

    def __call__(self, config: DataConfig, root: Path | None) -> DataSource | None:
        """Return the data set of this format that the config names or the folder holds, if any.

        Args:
            config: Keys that name files, and how they are read.
            root: The data folder, or the file that was named in its place; None without one.
        """
        ...


def part_of(path: Path, root: Path) -> Part:
    """Return the part that a path's words name: the file's own first, then its folders', the last first."""
    names = [path.stem, *reversed(path.relative_to(root).parts[:-1])] if path != root else [path.stem]
    for name in names:
        words = re.split(r"[^a-z]+", name.lower())
        found = next((_WORDS[word] for word in words if word in _WORDS), None)
        if found:
            return found
    return "all"


def by_part(paths: Iterable[Path], root: Path) -> dict[Part, list[Path]]:
    """Return the paths of each part that there is."""
    parts: dict[Part, list[Path]] = {}
    for path in paths:
        parts.setdefault(part_of(path, root), []).append(path)
    return parts


def split_folders(root: Path) -> dict[Part, Path]:
    """Return the folders below a root that are named after a part; the root itself is `all` without any."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    parts: dict[Part, Path] = {}
    for part, found in by_part(folders, root).items():
        if part != "all":
            parts[part] = found[0]
    return parts or {"all": root}
