"""What systems do in different ways: locks, reads and writes at a place, folders on the disk.

POSIX's calls are taken where they are, and Windows' or plainer ones elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    HAS_FCNTL = False
else:
    HAS_FCNTL = True

#: Flag of `os.open` for files whose line ends stay as they are written; Windows alone needs it.
BINARY: int = getattr(os, "O_BINARY", 0)
_MOVING = threading.Lock()  # where reading at a place takes two calls
_LOCKED = 1 << 30  # the byte that Windows locks, beyond what anyone writes: others cannot even read it


def try_lock(file: int) -> None:
    """Lock an open file for this process, which is the only one to hold it; its end frees the lock.

    Raises:
        PermissionError: If another process holds it (BlockingIOError on some systems).
        OSError: If the file system has no locks.
    """
    if HAS_FCNTL:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    try:
        import msvcrt
    except ImportError as error:
        raise OSError(errno.ENOLCK, "no locks on this system") from error
    os.lseek(file, _LOCKED, os.SEEK_SET)
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    finally:
        os.lseek(file, 0, os.SEEK_SET)


def remove_and_close(path: Path, file: int) -> None:
    """Remove a locked file and free its lock: in this order, or another process could lock it in between.

    Windows removes no open file: there it is closed first, and stays where another process has opened it.
    """
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(file)
    if not HAS_FCNTL:
        with contextlib.suppress(OSError):
            path.unlink()


def read_at(file: int, count: int, place: int) -> bytes:
    """Return at most so many bytes from a place of a file; threads may read side by side."""
    if hasattr(os, "pread"):
        return os.pread(file, count, place)
    with _MOVING:
        os.lseek(file, place, os.SEEK_SET)
        return os.read(file, count)


def write_at(file: int, content: bytes, place: int) -> int:
    """Write at a place of a file, and return how many bytes were written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, content, place)
    os.lseek(file, place, os.SEEK_SET)
    return os.write(file, content)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk, where the system lets one ask for that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync files alone
            raise
    finally:
        os.close(handle)
