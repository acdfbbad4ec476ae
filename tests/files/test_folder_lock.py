"""One process at a time, whatever ends it."""

import os
import signal
import subprocess
import sys

import pytest

from dprd_cli.errors import ResourceError
from dprd_cli.files.folder_lock import BusyError, FolderLock

HOLDER = (
    "import sys; from pathlib import Path; from dprd_cli.files.folder_lock import FolderLock\n"
    "with FolderLock(Path(sys.argv[1]), 'training'): print('held', flush=True); sys.stdin.read()"
)


def test_one_process_holds_a_folder_and_its_end_frees_it(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    assert int((tmp_path / ".lock").read_text()) == holder.pid
    with (
        pytest.raises(BusyError, match=f"{tmp_path}: another process is training this run"),
        FolderLock(tmp_path, "training this run"),
    ):
        pass
    holder.send_signal(signal.SIGKILL)  # no chance to clean up
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with FolderLock(tmp_path, "training this run"):
        assert int((tmp_path / ".lock").read_text()) == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_cannot_be_held(tmp_path):
    with pytest.raises(ResourceError, match="cannot lock the folder"), FolderLock(tmp_path / "gone", "x"):
        pass


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_of_that_name_that_is_somebody_else_s_stays_as_it_is(tmp_path, linked):
    (tmp_path / "folder").mkdir()
    file = tmp_path / ("notes" if linked else "folder/.lock")
    file.write_text("my notes")
    if linked:
        (tmp_path / "folder" / ".lock").symlink_to(file)
    with pytest.raises(ResourceError, match=r"\.lock: "), FolderLock(tmp_path / "folder", "x"):
        pass
    assert file.read_text() == "my notes"
    assert os.path.lexists(tmp_path / "folder" / ".lock")


def test_a_lock_that_a_killed_process_left_is_taken_over(tmp_path):
    (tmp_path / ".lock").write_text("123456\n")
    with FolderLock(tmp_path, "x"):
        assert int((tmp_path / ".lock").read_text()) == os.getpid()
