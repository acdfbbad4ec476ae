"""Files that are whole or not there: written atomically, grown row by row, read with one clear error."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from dprd_cli.errors import DataError, ResourceError
from dprd_cli.files.system import BINARY, sync_folder, write_at
from dprd_cli.files.text import read_text

_FORMULA = ("=", "+", "-", "@", "\t")


def write_atomically(path: Path, write: Callable[[BinaryIO], Any], *, previous: Path | None = None) -> None:
    """Write a file so that at every moment either the old or the new one is there, whole.

    Args:
        path: The file.
        write: Writes the contents to a binary file object.
        previous: Where the old file is moved just before the new one takes its place; it is lost by default.

    Raises:
        ResourceError: If the disk is full or the folder not writable; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        # torch's zip writer reports a short write as a RuntimeError, and a second Ctrl-C too
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        if isinstance(error, OSError | RuntimeError):
            reason = getattr(error, "strerror", None) or "the disk may be full"
            raise ResourceError(f"{path}: cannot save ({reason}); the old file is untouched") from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of given bytes, as `write_atomically` does."""
    write_atomically(path, lambda file: file.write(content))


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        what: What it should hold, for the message.

    Raises:
        DataError: If it cannot be read or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except OSError as error:
        raise DataError(f"{path}: cannot read the {what} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(content, indent=2) + "\n"
    write_bytes(path, text.encode())


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV; numbers get at most six significant digits.

    Raises:
        ResourceError: If it cannot be written.
    """
    text = csv_text(columns, [dict(zip(columns, columns, strict=True)), *rows])
    write_bytes(path, text)


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV; numbers get at most six significant digits, file names keep their bytes.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    for row in rows:
        writer.writerow({key: csv_cell(value) for key, value in row.items()})
    return text.getvalue().encode(errors="surrogateescape")


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV, see `csv_text`."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        value = value.replace("\r", "\\r")  # which Python does not quote, and readers take for the row's end
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value


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
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, 0o666)
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
            done += write_at(self._file, content[done:], self._end + done)


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
