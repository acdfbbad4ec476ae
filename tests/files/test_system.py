"""What is done without POSIX calls is what is done with them."""

import errno
import os
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from dprd_cli.files import system
from dprd_cli.files.atomic import GrowingFile, write_bytes
from dprd_cli.files.folder_lock import BusyError, FolderLock


@pytest.fixture(params=["POSIX", "without"])
def anywhere(request, monkeypatch):
    """Go through a test with POSIX calls, and without."""
    if request.param == "without":
        for name in ("pread", "pwrite"):
            monkeypatch.delattr(os, name)
        opened = os.open

        def open_no_folder(path, flags, *mode):
            if os.path.isdir(path):
                raise PermissionError(13, "Permission denied", path)
            return opened(path, flags, *mode)

        monkeypatch.setattr(os, "open", open_no_folder)


@pytest.mark.usefixtures("anywhere")
def test_a_file_grows_and_is_written_whole(tmp_path):
    file = GrowingFile(tmp_path / "a.json", b"[", b"]\n", b",\n")
    for number in range(3):
        file.append(b"%d" % number)
        assert (tmp_path / "a.json").read_bytes().endswith(b"%d]\n" % number)
    file.close()
    assert (tmp_path / "a.json").read_bytes() == b"[0,\n1,\n2]\n"
    write_bytes(tmp_path / "b", b"b\n")
    assert (tmp_path / "b").read_bytes() == b"b\n"


@pytest.mark.usefixtures("anywhere")
def test_threads_read_side_by_side(tmp_path):
    content = os.urandom(1 << 16)
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as file, ThreadPoolExecutor(4) as threads:
        blocks = threads.map(lambda place: system.read_at(file.fileno(), 64, place), range(0, 1 << 16, 64))
        assert b"".join(blocks) == content


@pytest.fixture
def windows(monkeypatch):
    """Lock as Windows does, which knows the holder of each byte; return the holders of bytes."""
    held = {}

    def locking(file, kind, count):
        assert (kind, count) == ("LK_NBLCK", 1)
        place = os.fstat(file).st_ino, os.lseek(file, 0, os.SEEK_CUR)
        if held.setdefault(place, file) != file:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(system, "HAS_FCNTL", False)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK="LK_NBLCK"))
    return held


def test_windows_locks_a_byte_that_nobody_reads(tmp_path, windows):
    with FolderLock(tmp_path, "training this run"):
        ((_, place),) = windows
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
        assert place > 1 << 20
        with pytest.raises(BusyError, match="another process is training"), FolderLock(tmp_path, "training"):
            pass
    assert not list(tmp_path.iterdir())


def test_without_locks_of_any_kind_folders_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "HAS_FCNTL", False)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    with FolderLock(tmp_path, "training"):
        assert (tmp_path / ".lock").is_file()
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_syncs_files_alone_is_no_error_and_a_broken_disk_is_one(tmp_path, monkeypatch):
    def refuse(number):
        def sync(_):
            raise OSError(number, os.strerror(number))

        return sync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    system.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        system.sync_folder(tmp_path)
