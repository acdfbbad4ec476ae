"""Whether the images that annotations name are there, and inside the image folder."""

from __future__ import annotations

import os
from pathlib import Path

from dprd_cli.data.formats.names import near_names
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.errors import DataError

_ADVICE = (
    "copy the images into the folder, or name another with --set data.train_images=DIR (val_images, "
    "test_images)"
)
_LINKS = "or follow links with --set data.follow_links=true, if you trust where they lead"
_RENAME = "give the files the names that the annotations have, or "


def check_files(
    names: list[str],
    images_dir: Path,
    problems: Problems,
    *,
    missing_ok: bool = False,
    links: bool = False,
    advice: str = _ADVICE,
) -> set[str]:
    """Check that every file is there, and inside the folder once symbolic links are followed.

    Args:
        names: Relative to the folder.
        images_dir: The folder.
        problems: Gets what cannot be used, and a warning where files are missing and that is all right.
        missing_ok: Only warn of missing files, as long as there are others.
        links: Follow symbolic links that lead out of the folder.
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
            folders[place] = _Folder(os.path.join(root, place), root, links=links)
        folder, path = folders[place], os.path.join(root, name)
        is_link = folder.files.get(base)
        if not folder.inside:
            text = f"'{name}' lies behind a link that leads out of {images_dir}"
            problems.add("link", text, name, f"{advice}, {_LINKS}")
            refused[name] = None
        elif is_link and not links and not _inside(path, root):
            text = f"'{name}' is a link that leads out of {images_dir}"
            problems.add("link", text, name, f"{advice}, {_LINKS}")
            refused[name] = None
        elif base in folder.folders:
            problems.add("is a folder", f"'{name}' is a folder in {images_dir}, not an image", name, advice)
            refused[name] = None
        elif is_link is None or (is_link and not os.path.exists(path)):
            missing[name] = None
    if missing:
        total = plural(len(names), "image")
        text = f"{len(missing)} of {total} missing in {images_dir}: {first_five(missing)}"
        near = near_names(missing, images_dir)
        text += f" ({near})" if near else ""
        if missing_ok and len(missing) < len(names):
            problems.count("missing", f"{text}; they are skipped", missing)
        else:
            problems.count("missing", text, missing, "error", f"{_RENAME if near else ''}{advice}")
    return {*missing, *refused}


class _Folder:
    """What a folder holds: its files, each with whether it is a link, and its folders."""

    def __init__(self, path: str, root: str, *, links: bool) -> None:
        self.files: dict[str, bool] = {}
        self.folders: set[str] = set()
        self.inside = links or _inside(path, root)
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
