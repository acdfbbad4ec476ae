"""Which device a model runs on, and in which precision."""

from __future__ import annotations

import torch

from dprd_cli.errors import UsageError
from dprd_cli.runtime.ranks import local_rank, local_size


def pick_device(name: str = "auto") -> torch.device:
    """Return the device that `name` stands for; `auto` takes CUDA where there is one.

    Where several processes of a job are on this machine, `auto` and `cuda` give each its own GPU.

    Raises:
        UsageError: If the name is unknown or no such device is here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local_size() > 1:
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device '{name}'; there are: auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"unknown device '{name}'; there are: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device '{name}': not here ({torch.cuda.device_count()} CUDA devices); use auto or cpu"
        )
    return device


def autocast(device: torch.device, amp: str) -> torch.autocast:
    """Return the mixed-precision context: bfloat16 on CUDA unless `amp` is `off`; float32 on a CPU."""
    enabled = amp != "off" and device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
