"""How much memory a call takes at most."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dprd_cli.errors import UserError
from dprd_cli.runtime import memory
from dprd_cli.runtime.memory import available_memory, peak_beyond, peak_resident, total_memory

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget earlier peaks")


def fill(mib):
    return np.ones(mib * MIB, dtype=np.uint8)


@linux
def test_what_a_call_holds_at_most_counts_and_earlier_calls_do_not():
    fill(300)
    small = peak_beyond(lambda: fill(40), torch.device("cpu"))
    large = peak_beyond(lambda: (fill(100), fill(40)), torch.device("cpu"))
    assert 39 * MIB <= small < 80 * MIB
    assert 138 * MIB <= large < 200 * MIB


@linux
def test_the_resident_peak_has_what_was_there_before():
    kept = fill(60)
    idle = peak_resident(lambda: None)
    busy = peak_resident(lambda: fill(400))
    assert idle > len(kept)
    # what else the process holds may shrink in between: a long test run frees, and the system takes back
    assert 200 * MIB <= busy - idle < 500 * MIB


def test_a_process_may_take_what_it_has():
    kept = fill(30)
    assert len(kept) < available_memory()


def test_where_peaks_are_not_forgotten_the_largest_so_far_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "clear_refs")
    largest = peak_resident(lambda: fill(128))
    assert peak_resident(lambda: None) == largest
    assert peak_beyond(lambda: fill(1), torch.device("cpu")) == 0  # it grew no further


@pytest.mark.parametrize(
    ("limit", "free"), [("max", 2048 * 1024), ("1000", 1000 - 400), (1 << 40, 2048 * 1024)]
)
def test_what_is_free_is_the_machines_or_the_containers(monkeypatch, tmp_path, limit, free):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    (tmp_path / "status").write_text("VmHWM: 7 kB\nVmRSS:\t   3 kB\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("400\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    places = {"/proc/meminfo": tmp_path / "meminfo", "/sys/fs/cgroup": tmp_path}
    monkeypatch.setattr(memory, "Path", places.__getitem__)
    assert available_memory() == free + 3 * 1024  # and what the process has


class Kernel:
    """Tells as Windows does, of a machine with 4 GiB, of which 1 is free."""

    @staticmethod
    def GlobalMemoryStatusEx(status):  # noqa: N802
        told = status._obj
        assert told.length == 64  # bytes of `MEMORYSTATUSEX`
        told.total, told.available = 4 << 30, 1 << 30
        return 1


def test_windows_is_asked_in_its_own_way(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(memory, "Path", lambda name: tmp_path / "none")
    assert total_memory() is None
    assert available_memory() == 8 << 30  # of nothing that is told
    monkeypatch.setattr(memory.ctypes, "windll", SimpleNamespace(kernel32=Kernel), raising=False)
    assert (total_memory(), available_memory()) == (4 << 30, 1 << 30)


def test_a_system_that_tells_no_peak_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "clear_refs")
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(UserError, match=r"does not tell how much memory .* --set train.batch_size=N"):
        peak_resident(lambda: None)
