"""In which precision a network computes: float32, or bfloat16 where the machine is faster in it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from dprd_cli.errors import UsageError, did_you_mean
from dprd_cli.ops.processor import processor_fields

#: What `--precision` and `train.precision` take.
PRECISIONS = ("auto", "fp32", "bf16")
#: How many times as fast bfloat16 has to be on a CPU: between emulation (0.4) and AVX512-bf16 (1.9).
WORTH = 1.25
#: Name -> PyTorch's function that says whether the CPU has them, and Linux's word for them.
_INSTRUCTIONS = {
    "AMX": ("_is_amx_tile_supported", "amx_bf16"),
    "AVX512-bf16": ("_is_avx512_bf16_supported", "avx512_bf16"),
}
_CHANNELS, _SIDE, _TURNS = 128, 28, 5  # 0.1 GMAC: a millisecond or two


@dataclass(frozen=True, slots=True)
class Bf16Support:
    """What a processor has for bfloat16.

    Args:
        instructions: `AMX` or `AVX512-bf16`; empty where there are none, and on a GPU.
        ratio: How many times as fast as in float32 a 3x3 convolution is, see `convolution_ratio`; None where
            it was not measured.
    """

    instructions: str = ""
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """A precision, decided.

    Args:
        name: `fp32` or `bf16`.
        reason: Why, in words.
        support: What the processor has, where that was looked at.
    """

    name: Literal["fp32", "bf16"]
    reason: str
    support: Bf16Support | None = None

    def line(self) -> str:
        """Return it in words."""
        return f"{'bfloat16' if self.name == 'bf16' else 'float32'} ({self.reason})"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def choose_precision(
    asked: str, device: torch.device, look: Callable[[], Bf16Support] | None = None
) -> PrecisionChoice:
    """Decide a precision; `auto` takes what the device is faster in.

    Law: in one process the same at each call; what else runs on the machine does not change it.

    Args:
        asked: `auto`, `fp32` or `bf16`.
        device: Where the network is.
        look: Says what the CPU has; by default it is asked and measured.

    Raises:
        UsageError: If the word is unknown, or bfloat16 is asked of Apple's GPU.
    """
    if asked not in PRECISIONS:
        hint = did_you_mean(asked, PRECISIONS)
        raise UsageError(f"unknown precision '{asked}'{hint}; there are: {', '.join(PRECISIONS)}")
    if asked == "bf16" and device.type == "mps":
        raise UsageError("--precision bf16: not on mps; take fp32, or auto")
    if asked == "fp32":
        return PrecisionChoice("fp32", "asked for")
    if asked == "bf16":
        return PrecisionChoice("bf16", "asked for")
    if device.type == "cuda":
        return _of_gpu(device)
    if device.type != "cpu":
        return PrecisionChoice("fp32", f"the only one on {device.type}")
    return _of_cpu((look or cpu_support)())


def _of_gpu(device: torch.device) -> PrecisionChoice:
    if torch.cuda.get_device_capability(device)[0] >= 8 or torch.version.hip:
        return PrecisionChoice("bf16", "the GPU has it")
    return PrecisionChoice("fp32", "the GPU has no bfloat16")


def _of_cpu(found: Bf16Support) -> PrecisionChoice:
    if found.ratio is None:
        return PrecisionChoice("fp32", "the CPU has no instructions for bfloat16", found)
    told = f"{found.instructions}: a 3x3 convolution in bfloat16 is {found.ratio:.1f} times as fast"
    return PrecisionChoice("bf16" if found.ratio >= WORTH else "fp32", told, found)


@functools.cache
def cpu_support() -> Bf16Support:
    """Return what this CPU has for bfloat16; measured once in a process, and only where it names some."""
    names = bf16_instructions()
    return Bf16Support(names, convolution_ratio()) if names else Bf16Support()


def bf16_instructions() -> str:
    """Return the best instructions for bfloat16 that the CPU names: `AMX`, `AVX512-bf16`, or nothing."""
    flags = _flags()
    for name, (function, flag) in _INSTRUCTIONS.items():
        known: Callable[[], bool] | None = getattr(torch.cpu, function, None)
        try:
            has = known() if known else flag in flags
        except (RuntimeError, AttributeError):  # a build for another processor
            has = False
        if has:
            return name
    return ""


def _flags() -> set[str]:
    """Return what Linux says that the processor can do; nothing elsewhere."""
    return set(processor_fields().get("flags", "").split())


def convolution_ratio() -> float:
    """Measure how many times as fast as in float32 a small 3x3 convolution is in bfloat16, in turns.

    On one thread and in the processor's time, which programs beside this one do not change: on a busy machine
    the time of day gives any ratio.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = _least_seconds()
    finally:
        torch.set_num_threads(threads)
    return seconds[torch.float32] / max(seconds[torch.bfloat16], 1e-9)


@torch.inference_mode()
def _least_seconds() -> dict[torch.dtype, float]:
    fine = time.get_clock_info("thread_time").resolution < 1e-5  # Windows counts it in ticks of 16 ms
    clock = time.thread_time if fine else time.perf_counter
    least: dict[torch.dtype, float] = {}
    weight = torch.ones(_CHANNELS, _CHANNELS, 3, 3).to(memory_format=torch.channels_last)
    image = torch.ones(1, _CHANNELS, _SIDE, _SIDE).to(memory_format=torch.channels_last)
    for turn in range(_TURNS + 1):
        for dtype in (torch.float32, torch.bfloat16):
            inputs = image.to(dtype), weight.to(dtype)
            started = clock()
            F.conv2d(*inputs, padding=1)
            seconds = clock() - started
            if turn:  # the first one makes the kernel
                least[dtype] = min(seconds, least.get(dtype, seconds))
    return least


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which matrix products and convolutions are in bfloat16, if it is `bf16`."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")
