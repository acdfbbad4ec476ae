"""Whether the files that annotations name are there, and inside the image folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.errors import DataError

_ADVICE = (
    "copy the images into the folder, or name another with --set data.train_images=DIR (val_images, "
    "test_images)"
)


def is_absolute(name: str) -> bool:
    """Whether a file name starts at a root or a drive, on any system."""
    return bool(re.match(r"[\\/]|[A-Za-z]:", name))


def leaves_folder(name: str) -> bool:
    """Whether a relative file name goes up, on any system."""
    return ".." in re.split(r"[\\/]", name)


def name_fault(name: object) -> tuple[str, str]:
    """Return the kind and the words of what is wrong with a `file_name`, or two empty strings."""
    if not isinstance(name, str) or not name or "\0" in name or not _can_be_stored(name):
        return "file", f"has file_name {name!r}, expected a path"
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


def check_files(
    names: list[str], images_dir: Path, problems: Problems, *, missing_ok: bool = False, advice: str = _ADVICE
) -> set[str]:
    """Check that every file is there, and inside the folder once symbolic links are followed.

    Args:
        names: Relative to the folder.
        images_dir: The folder.
        problems: Gets what cannot be used, and a warning where files are missing and that is all right.
        missing_ok: Only warn of missing files, as long as there are others.
        advice: What to do about it.

    Returns:
        The names that cannot be read, or must not be.

    Raises:
        DataError: If the folder is missing.
    """
    if not images_dir.is_dir():
        raise DataError(
            f"{images_dir}: no such image folder (for {problems.file}); name it with "
            "--set data.train_images=DIR or data.val_images=DIR"
        )
    root = os.path.realpath(images_dir)
    folders: dict[str, _Folder] = {}
    missing: dict[str, None] = {}
    refused: dict[str, None] = {}
    for name in names:
        place, _, base = name.rpartition("/")
        if place not in folders:
            folders[place] = _Folder(os.path.join(root, place), root)
        folder, path = folders[place], os.path.join(root, name)
        is_link = folder.files.get(base)
        if not folder.inside:
            problems.add("link", f"'{name}' lies behind a link that leads out of {images_dir}", name, advice)
            refused[name] = None
        elif is_link and not _inside(path, root):
            problems.add("link", f"'{name}' is a link that leads out of {images_dir}", name, advice)
            refused[name] = None
        elif base in folder.folders:
            problems.add("is a folder", f"'{name}' is a folder in {images_dir}, not an image", name, advice)
            refused[name] = None
        elif is_link is None or (is_link and not os.path.exists(path)):
            missing[name] = None
    if missing:
        total = plural(len(names), "image")
        text = f"{len(missing)} of {total} missing in {images_dir}: {first_five(missing)}"
        if missing_ok and len(missing) < len(names):
            problems.count("missing", f"{text}; they are skipped", missing)
        else:
            problems.count("missing", text, missing, "error", advice)
    return {*missing, *refused}


class _Folder:
    """What a folder holds: its files, each with whether it is a link, and its folders."""

    def __init__(self, path: str, root: str) -> None:
        self.files: dict[str, bool] = {}
        self.folders: set[str] = set()
        self.inside = _inside(path, root)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        self.folders.add(entry.name)
                    else:
                        self.files[entry.name] = entry.is_symlink()
        except (OSError, ValueError):
            pass  # then its images are missing


def _inside(path: str, root: str) -> bool:
    real = os.path.realpath(path)
    return real == root or real.startswith(os.path.join(root, ""))
