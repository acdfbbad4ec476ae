"""How much memory there is, and how much a call takes at most."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from dprd_cli.errors import UserError

GIB = 1 << 30
_UNTOLD = 8 * GIB
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_resident(call: Callable[[], object]) -> int:
    """Return the largest resident memory of the process during a call, in bytes.

    Where the system cannot forget earlier peaks (all but Linux), the largest so far.

    Raises:
        UserError: If the system does not tell it (Windows).
    """
    gc.collect()
    forgets = _forget_peak()
    call()
    return _field(_STATUS, "VmHWM") if forgets else _largest_so_far()


def peak_beyond(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that a call held beyond those before it.

    On CUDA they are the allocator's. On Linux they are the process's resident size, freed pages given back to
    the system first. Elsewhere, how far the process's largest size grew: no more than that.

    Raises:
        UserError: If the system does not tell it (Windows).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    _trim()
    forgets = _forget_peak()
    before = _field(_STATUS, "VmRSS") if forgets else _largest_so_far()
    call()
    return max((_field(_STATUS, "VmHWM") if forgets else _largest_so_far()) - before, 0)


def total_memory() -> int | None:
    """Return the machine's memory in bytes, None where the system does not tell it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system says; Windows has a call of its own
        return _windows_memory("total")


class _WindowsMemory(ctypes.Structure):
    """`MEMORYSTATUSEX`, of `GlobalMemoryStatusEx`."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *[(name, ctypes.c_uint64) for name in ("total", "available", "total_page", "available_page")],
        *[(name, ctypes.c_uint64) for name in ("total_virtual", "available_virtual", "extended")],
    )


def _windows_memory(field: str) -> int | None:
    """Return what Windows tells of the machine's memory, in bytes; None elsewhere."""
    windll = getattr(ctypes, "windll", None)
    status = _WindowsMemory(length=ctypes.sizeof(_WindowsMemory))
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(getattr(status, field))


def available_memory() -> int:
    """Return what this process may take, including what it has, in bytes.

    On Linux it is what is free; on Windows too; elsewhere all that the machine has. Where the system tells
    nothing, 8 GiB are taken.
    """
    if not Path("/proc/meminfo").exists():
        return _windows_memory("available") or total_memory() or _UNTOLD
    free = _field(Path("/proc/meminfo"), "MemAvailable")
    group = Path("/sys/fs/cgroup")
    limit = (group / "memory.max").read_text().strip() if (group / "memory.max").exists() else "max"
    if limit != "max":
        free = min(free, int(limit) - int((group / "memory.current").read_text()))
    return free + _field(_STATUS, "VmRSS")


def _forget_peak() -> bool:
    """Let the resident peak count from now on; whether the system can."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _trim() -> None:
    """Give freed pages back to the system, where the C library can."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def _largest_so_far() -> int:
    try:
        import resource
    except ImportError as error:  # Windows
        raise UserError(
            "this system does not tell how much memory a process takes; name the batch size with "
            "--set train.batch_size=N, and measure memory on Linux or macOS"
        ) from error
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _field(path: Path, name: str) -> int:
    """Return a `Name: 123 kB` of a file in /proc, in bytes."""
    line = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
