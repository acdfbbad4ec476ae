"""What the system says of the processor."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch


@functools.cache
def processor_fields() -> dict[str, str]:
    """Return what Linux says of the first processor, by name: `model name`, `vendor_id`, `flags`, ...

    Elsewhere what the system calls it, as `model name`.
    """
    try:
        first, *_ = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")
    except OSError:
        return {"model name": platform.processor()}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


@functools.cache
def has_slow_products() -> bool:
    """Whether matrix products in float32 are far from what the processor can do.

    MKL, which PyTorch gives them to, has no AVX-512 for AMD's processors; oneDNN, which it gives convolutions
    to, has (two cores of an AMD EPYC, 13 GMAC: 128 against 60 ms).
    """
    fields = processor_fields()
    by_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return by_mkl and "AMD" in fields.get("vendor_id", fields.get("model name", ""))


__all__ = ["has_slow_products", "processor_fields"]
