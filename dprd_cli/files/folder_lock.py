"""One process writes into a folder at a time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType

from dprd_cli.errors import ResourceError, UserError
from dprd_cli.files.system import BINARY, remove_and_close, try_lock

LOCK_FILE = ".lock"
_OWN = re.compile(rb"\d{0,19}\n?")  # what it may hold: a process's number, of one that was killed
_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)  # or what a link leads to would be emptied


class BusyError(UserError):
    """A folder that another process holds."""


class FolderLock:
    """Holds `.lock` in a folder while entered; the system releases it when the process ends, however.

    The lock is the process's own: forked workers of the loader, which live on for seconds after a `kill -9`,
    do not hold it (they would with `flock`).

    Args:
        folder: Exists.
        what: What another process that holds it does, for the message.

    Raises:
        BusyError: On entering, if another process holds it.
        ResourceError: On entering, if the folder is gone or cannot be written, or another program's file or a
            link has the lock's name.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._path, self._what = folder / LOCK_FILE, what
        self._file = -1

    def __enter__(self) -> FolderLock:
        while True:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | BINARY | _NO_LINKS, 0o644)
            except OSError as error:
                raise ResourceError(f"{self._path}: cannot lock the folder ({error.strerror})") from error
            try:
                try_lock(self._file)
                if os.fstat(self._file).st_ino == self._path.stat().st_ino:
                    break
            except FileNotFoundError:
                pass  # its last holder removed it in between: take a new one
            except (BlockingIOError, PermissionError) as error:  # EAGAIN or EACCES: held
                os.close(self._file)
                raise BusyError(f"{self._path.parent}: another process is {self._what}") from error
            except OSError:
                break  # a file system without locks
            os.close(self._file)
        if not _OWN.fullmatch(os.read(self._file, 1 << 10)):
            os.close(self._file)
            raise ResourceError(
                f"{self._path}: not a lock of this program; move it away, or choose another folder"
            )
        os.lseek(self._file, 0, os.SEEK_SET)
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove_and_close(self._path, self._file)
