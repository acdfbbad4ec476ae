"""The names of files that annotations hold: whether one can be a file inside a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dprd_cli.errors import short_repr


def is_absolute(name: str) -> bool:
    """Whether a file name starts at a root or a drive, on any system."""
    return bool(re.match(r"[\\/]|[A-Za-z]:", name))


def leaves_folder(name: str) -> bool:
    """Whether a relative file name goes up, on any system."""
    return ".." in re.split(r"[\\/]", name)


def name_fault(name: object) -> tuple[str, str]:
    """Return the kind and the words of what is wrong with a `file_name`, or two empty strings."""
    if not isinstance(name, str) or not name or "\0" in name or not _can_be_stored(name):
        return "file", f"has file_name {short_repr(name)}, expected a path"
    if is_absolute(name):
        return "absolute", f"has the absolute file_name '{name}', expected a relative one"
    if leaves_folder(name):
        return "outside", f"has file_name '{name}', which leaves the image folder"
    return "", ""


def _can_be_stored(name: str) -> bool:
    """Whether a file system takes a name: half of a surrogate pair is no character."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that the system refuses is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
