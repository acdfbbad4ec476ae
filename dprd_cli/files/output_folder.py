"""Where a command writes: a folder or a file of its own, where nothing that is there is lost.

Every command that writes results takes its place from here. `--out` that holds results is refused without
`--overwrite`; where no place is named, it is the next free one: `predictions`, `predictions-2`, ...
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.files.folder_lock import LOCK_FILE, BusyError, FolderLock
from dprd_cli.files.written_files import WrittenFiles

_BUSY = "writing into it; wait for it, or choose another folder"


@dataclass(frozen=True, slots=True)
class OutputChoice:
    """Where a command is asked to write.

    Args:
        out: The folder; None for the default.
        overwrite: Replace what the same command wrote there before.
        option: The option that names the folder, for messages.
    """

    out: Path | None = None
    overwrite: bool = False
    option: str = "--out"


class OccupiedError(UsageError):
    """A place that holds what would be lost."""


class OutputFolder:
    """A folder that a command writes into.

    Args:
        path: The folder; exists.
        command: The command.
        rank: Number of the process, where several write into it.
    """

    def __init__(self, path: Path, command: str, rank: int = 0) -> None:
        self.path = path
        self._before = WrittenFiles(path, command)
        self._written = WrittenFiles(path, command, rank)
        self._begun = rank > 0
        self._claiming = threading.Lock()

    def begin(self) -> None:
        """Remove what the command wrote before; the first `claim` does it too."""
        if not self._begun:
            self._before.remove()
            self._begun = True

    def claim(self, *names: str) -> Path:
        """Return the path of a file that is written next, after making its folder; it belongs to the command.

        Several threads may ask.

        Args:
            names: Its path from the folder on.

        Raises:
            ResourceError: If the folder cannot be made, or not written into.
        """
        with self._claiming:
            self.begin()
            path = self.path.joinpath(*names)
            make_folder(path.parent)
            self._written.add(path.relative_to(self.path).as_posix())
        return path

    def close(self) -> None:
        """Say that everything is written."""
        self._written.close()


@contextlib.contextmanager
def output_folder(
    choice: OutputChoice,
    default: Path,
    command: str,
    *,
    names: Collection[str] = (),
    inputs: Sequence[Path] = (),
) -> Iterator[OutputFolder]:
    """Hold the folder that a command writes into.

    Laws: a file that the command did not write stays as it is, and so does one that was changed since;
    nothing is removed before the first file is claimed; nobody else writes into it meanwhile; a folder that
    was made for results, of which there were none, is gone again.

    Args:
        choice: What was asked for.
        default: The folder where nothing was asked for; `-2`, `-3`, ... if it holds something.
        command: The command, and after a dot which of its outputs, if it has several such folders.
        names: Files and folders at its top that may be written.
        inputs: Files that are read.

    Raises:
        UsageError: If it is a file, holds the inputs, results, or what would be overwritten.
        BusyError: If another process writes into it.
        ResourceError: If it cannot be created.
    """
    with ExitStack() as stack:
        if choice.out is None and not choice.overwrite:
            yield _next_free(stack, default, command, names, inputs)
        else:
            yield stack.enter_context(_hold(choice, default, command, names, inputs))


def _next_free(
    stack: ExitStack, default: Path, command: str, names: Collection[str], inputs: Sequence[Path]
) -> OutputFolder:
    for path in numbered(default):
        with contextlib.suppress(OccupiedError, BusyError):
            return stack.enter_context(_hold(OutputChoice(path), path, command, names, inputs))
    raise AssertionError("numbers do not end")


@contextlib.contextmanager
def _hold(
    choice: OutputChoice, default: Path, command: str, names: Collection[str], inputs: Sequence[Path]
) -> Iterator[OutputFolder]:
    folder = choice.out or default
    _check_place(folder, choice.option, names, inputs)
    with _making(folder), FolderLock(folder, _BUSY):
        _check_content(folder, choice, command, names)
        output = OutputFolder(folder, command)
        try:
            yield output
        finally:
            output.close()


def _check_place(folder: Path, option: str, names: Collection[str], inputs: Sequence[Path]) -> None:
    if folder.exists() and not folder.is_dir():
        raise OccupiedError(f"{option} {folder}: a file; choose a folder")
    place = os.path.realpath(folder)  # which, unlike resolve(), takes names of any length, and loops
    below = {os.path.join(place, name) for name in names}
    for path in inputs:
        real = Path(os.path.realpath(path))
        if str(real.parent) == place or not below.isdisjoint(map(str, real.parents)):
            raise OccupiedError(f"{option} {folder}: holds files that are read; choose another folder")


def _check_content(folder: Path, choice: OutputChoice, command: str, names: Collection[str]) -> None:
    before = WrittenFiles(folder, command)
    own = set(before.present())
    start, command = f"{choice.option} {folder}:", command.partition(".")[0]
    if own and not choice.overwrite:
        raise OccupiedError(
            f"{start} holds results of `dprd {command}`; choose another folder, or pass --overwrite to "
            "replace them"
        )
    for name in before.changed():
        raise OccupiedError(
            f"{start} {name} was changed after `dprd {command}` had written it; move it away, or choose "
            "another folder"
        )
    for name in sorted(set(os.listdir(folder)) & set(names)):
        foreign = [file for file in _files_at(folder, name) if file not in own]
        if foreign:
            raise OccupiedError(
                f"{start} {foreign[0]} is there, and no earlier `dprd {command}` wrote it; move it away, or "
                "choose another folder"
            )


def _files_at(folder: Path, name: str) -> Iterator[str]:
    """Yield a file, or all in a folder, by their paths from `folder` on."""
    path = folder / name
    if path.is_symlink() or not path.is_dir():
        yield name
        return
    for place, _, files in os.walk(path):
        yield from (os.path.relpath(os.path.join(place, file), folder) for file in files)


@contextlib.contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Make a folder and those above it, and remove those that were made and are empty in the end."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    make_folder(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for one in missing:
                one.rmdir()


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, where they are missing.

    Raises:
        ResourceError: If it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot create the folder ({error.strerror})") from error


def numbered(path: Path) -> Iterator[Path]:
    """Yield `NAME.html`, `NAME-2.html`, `NAME-3.html`, ..."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def output_file(choice: OutputChoice, default: Path) -> Path:
    """Return the file that a command writes, and make its folder.

    Args:
        choice: What was asked for; `overwrite` replaces the file whatever it is.
        default: The file where nothing was asked for; `-2`, `-3`, ... if it is there.

    Raises:
        UsageError: If the file is there, or is a folder.
        ResourceError: If the folder cannot be made.
    """
    if choice.out is None and not choice.overwrite:
        path = next(one for one in numbered(default) if not os.path.lexists(one))
    else:
        path = choice.out or default
        if path.is_dir():
            raise UsageError(f"{choice.option} {path}: a folder; name a file")
        if path.parent.exists() and not path.parent.is_dir():
            raise UsageError(f"{choice.option} {path.parent}: a file; choose a folder")
        if os.path.lexists(path) and not choice.overwrite:
            raise OccupiedError(
                f"{choice.option} {path}: is there already; choose another name, or pass --overwrite to "
                "replace it"
            )
    make_folder(path.parent)
    return path


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Hold a new or empty folder for a data set, for data sets are never mixed.

    Raises:
        UsageError: If it is a file, or a folder that is not empty.
        BusyError: If another process writes into it.
        ResourceError: If it cannot be created.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not empty; choose another folder")
    lock: AbstractContextManager[object] = FolderLock(folder, _BUSY)
    with _making(folder), lock:
        if any(name != LOCK_FILE for name in os.listdir(folder)):
            raise UsageError(f"{folder} is not empty; choose another folder")
        yield
