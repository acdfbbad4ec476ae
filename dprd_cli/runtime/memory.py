"""How much memory there is, and how much a call takes at most."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

GIB = 1 << 30
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_resident(call: Callable[[], object]) -> int:
    """Return the largest resident memory of the process during a call, in bytes.

    Where the system cannot forget earlier peaks (all but Linux), the largest so far.
    """
    gc.collect()
    forgets = _forget_peak()
    call()
    return _field(_STATUS, "VmHWM") if forgets else _largest_so_far()


def peak_beyond(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that a call held beyond those before it.

    On CUDA they are the allocator's. On Linux they are the process's resident size, freed pages given back to
    the system first. Elsewhere, how far the process's largest size grew: no more than that.
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


def available_memory() -> int:
    """Return what this process may take, including what it has, in bytes."""
    if not Path("/proc/meminfo").exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
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
    import resource  # there is none on Windows

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _field(path: Path, name: str) -> int:
    """Return a `Name: 123 kB` of a file in /proc, in bytes."""
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
