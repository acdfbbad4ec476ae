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
