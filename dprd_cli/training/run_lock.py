"""A lock on a run folder: one process trains a run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType

from dprd_cli.errors import ResourceError, UserError


class BusyError(UserError):
    """A run that another process holds."""


class RunLock:
    """Holds `.lock` in a run folder while entered; the system releases it when the process ends, however.

    Args:
        folder: The run folder; exists.

    Raises:
        BusyError: On entering, if another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file = -1

    def __enter__(self) -> RunLock:
        while True:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise ResourceError(f"{self._path}: cannot lock the run folder ({error.strerror})") from error
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(self._file).st_ino == self._path.stat().st_ino:
                    break
            except FileNotFoundError:
                pass  # its last holder removed it in between: take a new one
            except BlockingIOError as error:
                os.close(self._file)
                raise BusyError(f"{self._path.parent}: another process is training this run") from error
            except OSError:
                break  # a file system without locks
            os.close(self._file)
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._file)
