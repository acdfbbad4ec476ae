"""Which device a model runs on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision

from dprd_cli.errors import UsageError
from dprd_cli.runtime.ranks import local_rank, local_size

_NAMES = "auto, cpu, cuda, cuda:N, mps"


def pick_device(name: str = "auto") -> torch.device:
    """Return the device that `name` stands for; `auto` takes CUDA where there is one, else the CPU.

    Where several processes of a job are on this machine, `auto` and `cuda` give each its own GPU. `mps`,
    Apple's, is taken where PyTorch has the operations there that a detector needs.

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
        raise UsageError(f"unknown device '{name}'; there are: {_NAMES}") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"unknown device '{name}'; there are: {_NAMES}")
    if device.type == "mps":
        _try_mps()
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device '{name}': not here ({torch.cuda.device_count()} CUDA devices); use auto or cpu"
        )
    return device


def _try_mps() -> None:
    """Try the operations that PyTorch has had for other devices first.

    Raises:
        UsageError: If Apple's GPU is not here, or lacks one.
    """
    if not torch.backends.mps.is_available():
        raise UsageError("device 'mps': not here; use auto or cpu")
    try:
        pool_and_suppress(torch.device("mps"))
    except (RuntimeError, TypeError) as error:  # NotImplementedError is a RuntimeError
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(
            f"device 'mps': PyTorch {torch.__version__} lacks an operation there ({reason}); use cpu, or set "
            "PYTORCH_ENABLE_MPS_FALLBACK=1, which computes it on the CPU"
        ) from error


def pool_and_suppress(device: torch.device) -> None:
    """Do on a device, with a few numbers, what RoIs are pooled with, there and back, and NMS.

    Raises:
        RuntimeError: If it lacks one of them.
    """
    table, weights = torch.rand(4, 2, device=device), torch.rand(2, 2, device=device)
    index = torch.tensor([[0, 1], [2, 3]], device=device)
    for tensor in (table, weights):
        tensor.requires_grad_()
    pooled = F.embedding_bag(index, table, mode="sum", per_sample_weights=weights)
    torch.autograd.grad(pooled.sum(), (table, weights))
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]], device=device)
    torchvision.ops.nms(boxes, boxes[:, 0], 0.5)
