"""Which files of a folder a command has written: a list that is kept in the folder."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from dprd_cli.errors import ResourceError
from dprd_cli.files.system import BINARY

_START = ".written-by-dprd-"
_END = b"null\n"


def is_output_folder(folder: Path | str) -> bool:
    """Whether a command has written results into a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(entry.name.startswith(_START) for entry in entries)
    return False


class WrittenFiles:
    """The list of the files that a command has written into a folder.

    It is `.written-by-dprd-COMMAND`: a name a line, in JSON, added before the file is written, and `null`
    when the command has ended. What it names outside the folder, through links or that is no plain file is
    not the command's.

    Args:
        folder: The folder; need not exist.
        command: Which command.
        rank: Number of the process; each of a job's has a list of its own, read together.
    """

    def __init__(self, folder: Path, command: str, rank: int = 0) -> None:
        command = command.replace(" ", "-")
        self._folder, self._command = folder, command
        self._path = folder / f"{_START}{command}{f'.{rank}' if rank else ''}"
        self._file = -1

    def add(self, name: str) -> None:
        """Say that a file is the command's, before it is written.

        Args:
            name: Its path from the folder on.

        Raises:
            ResourceError: If the list cannot be written.
        """
        self._append(json.dumps(name).encode() + b"\n")

    def close(self) -> None:
        """Say that the files are as they are to be; nothing if there are none."""
        if self._file < 0:
            return
        try:
            self._append(_END)
        finally:
            os.close(self._file)
            self._file = -1

    def present(self) -> list[str]:
        """Return the listed files that are there, by their paths from the folder on."""
        return [name for path in self._lists() for name in self._names(path)]

    def changed(self) -> list[str]:
        """Return those that were changed after the command had ended, such as corrected annotations."""
        found: list[str] = []
        for path in self._lists():
            if _read(path).endswith(_END):
                ended = path.stat().st_mtime_ns
                names = self._names(path)
                found += [name for name in names if (self._folder / name).stat().st_mtime_ns > ended]
        return found

    def remove(self) -> None:
        """Remove the files that are there, the folders that are empty then, and the lists.

        Raises:
            ResourceError: If one cannot be removed.
        """
        lists = self._lists()
        folders: set[Path] = set()
        try:
            for name in self.present():
                path = self._folder / name
                path.unlink()
                for rest in (f".{path.name}.tmp", f".{path.name}.tmp.mp4"):  # of one that was killed
                    path.with_name(rest).unlink(missing_ok=True)
                folders |= {self._folder / above for above in Path(name).parents[:-1]}
            for path in lists:
                path.unlink()
        except OSError as error:
            raise ResourceError(
                f"{error.filename}: cannot remove what is to be overwritten ({error.strerror})"
            ) from error
        for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
            with contextlib.suppress(OSError):  # it holds something else
                folder.rmdir()

    def _lists(self) -> list[Path]:
        """Return the lists of all processes."""
        start = f"{_START}{self._command}"
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return []
        own = [name for name in names if name == start or name.startswith(f"{start}.")]
        return [path for name in own if (path := self._folder / name).is_file() and not path.is_symlink()]

    def _names(self, path: Path) -> list[str]:
        """Return the names of a list that are plain files in the folder."""
        place = os.path.realpath(self._folder)
        names: dict[str, None] = {}
        for line in _read(path).splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(name := json.loads(line), str) and self._is_own(name, place):
                    names[name] = None
        return list(names)

    def _is_own(self, name: str, place: str) -> bool:
        if not name or "\0" in name or os.path.isabs(name) or ".." in Path(name).parts:
            return False
        path = self._folder / name
        inside = os.path.realpath(path.parent) == os.path.normpath(os.path.join(place, os.path.dirname(name)))
        with contextlib.suppress(OSError, UnicodeError):
            return inside and path.is_file() and not path.is_symlink()
        return False

    def _append(self, line: bytes) -> None:
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
            os.write(self._file, line)
        except OSError as error:
            raise ResourceError(f"{self._path}: cannot write ({error.strerror})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
