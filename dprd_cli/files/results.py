"""Where results go: names that never collide, pictures, tables, and files that are valid at every moment."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from dprd_cli.drawing.canvas import Picture
from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.weights.checkpoint import write_atomically

_JPEG = frozenset({".jpg", ".jpeg"})
_LONGEST = 180  # bytes of a file name's stem, so that endings fit below the usual 255


def output_folder(folder: Path, inputs: Sequence[Path], subfolders: Sequence[str] = ()) -> Path:
    """Create the folder for results, and refuse one that would overwrite the pictures given.

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
        raise UsageError(f"--out {folder}: holds pictures that are read; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot create the folder ({error.strerror})") from error
    return folder


def picture_names(paths: Sequence[Path], suffix: str = "", reserved: Sequence[str] = ()) -> list[str]:
    """Return a file name for each picture's drawing, no two alike even where case does not count.

    Args:
        paths: The pictures; equal names from different folders get `-2`, `-3`, ...
        suffix: Of all names; by default `.jpg` for JPEGs and `.png` for the rest.
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
        names.append(stem + (suffix or picture_suffix(path)))
    return names


def picture_suffix(path: Path) -> str:
    """Return `.jpg` for a JPEG's name and `.png` for any other: the format of pictures made from it."""
    return ".jpg" if path.suffix.lower() in _JPEG else ".png"


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Return COCO image ids: the file names' numbers if all are different numbers, else 1..N."""
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(paths) + 1))


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture as its suffix says.

    Raises:
        ResourceError: If it cannot be written.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, 93] if path.suffix.lower() in _JPEG else []
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    write_atomically(path, lambda file: file.write(encoded))


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write a CSV; numbers get at most six significant digits.

    Raises:
        ResourceError: If it cannot be written.
    """
    text = csv_text(columns, [dict(zip(columns, columns, strict=True)), *rows])
    write_atomically(path, lambda file: file.write(text))


def csv_text(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    """Return rows as CSV; numbers get at most six significant digits, file names keep their bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue().encode(errors="surrogateescape")


class GrowingFile:
    """A file that is appended to and valid after every append, whatever stops the program.

    Each append writes what is new and the closing in one go over the old closing. Where the disk has no room
    for it, the old end is put back.

    Args:
        path: The file; an old one is replaced.
        opening: How it starts.
        closing: How it ends.
        separator: Between appends.

    Raises:
        ResourceError: If it cannot be written; `append` too.
    """

    def __init__(
        self, path: Path, opening: bytes = b"", closing: bytes = b"", separator: bytes = b""
    ) -> None:
        self.path, self._closing, self._separator = path, closing, separator
        self._end, self._empty = 0, True
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            raise ResourceError(f"{path}: cannot write ({error.strerror})") from error
        self._write(opening)

    def append(self, content: bytes) -> None:
        """Add to the file, before its closing."""
        self._write(content if self._empty else self._separator + content)
        self._empty = False

    def close(self) -> None:
        """Make sure that it is on the disk."""
        with contextlib.suppress(OSError):  # not every kind of file can be synced
            os.fsync(self._file)
        os.close(self._file)

    def _write(self, content: bytes) -> None:
        try:
            self._put(content + self._closing)
        except OSError as error:
            with contextlib.suppress(OSError):
                if self._end:
                    self._put(self._closing)
                    os.ftruncate(self._file, self._end + len(self._closing))
            raise ResourceError(
                f"{self.path}: cannot write ({error.strerror}); what it held before is kept"
            ) from error
        self._end += len(content)

    def _put(self, content: bytes) -> None:
        """Write at the end of what is kept; a short write is tried again, to learn why."""
        done = 0
        while done < len(content):
            done += os.pwrite(self._file, content[done:], self._end + done)
