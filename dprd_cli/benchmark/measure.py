"""Timing in turns, peak memory, and what a benchmark reports."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dprd_cli.benchmark.launches import DeviceWork
from dprd_cli.runtime.memory import peak_beyond
from dprd_cli.runtime.progress import Progress


@dataclass(frozen=True, slots=True)
class Timing:
    """What one program took.

    Args:
        seconds: Seconds of each repetition, in order.
        memory: Most bytes that the first call held beyond what was there before; None where that was not
            measured.
        macs: Multiply-accumulates of a call; None where they were not counted.
        share: Its multiply-accumulates a second over those of a plain convolution; None likewise.
        processor: Processor seconds of each repetition, of this process and of those that it began and that
            have ended: what other programs take away from them does not count.
        work: What a call would ask of a GPU; None where that was not counted.
    """

    seconds: tuple[float, ...]
    memory: int | None
    macs: float | None = None
    share: float | None = None
    processor: tuple[float, ...] = ()
    work: DeviceWork | None = None

    @property
    def median(self) -> float:
        """The median of the repetitions."""
        return statistics.median(self.seconds)

    @property
    def processor_median(self) -> float | None:
        """The median of the processor seconds; None where they were not counted."""
        return statistics.median(self.processor) if self.processor else None

    @property
    def rate(self) -> float | None:
        """Multiply-accumulates a second."""
        return None if self.macs is None else self.macs / self.median

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values in seconds, MB, GMAC and GMAC/s; what was not counted is left out."""
        counted = {
            "gmac": None if self.macs is None else self.macs / 1e9,
            "gmac_per_s": None if self.rate is None else self.rate / 1e9,
            "share_of_convolution": self.share,
            "processor_median_s": self.processor_median,
            "device": None if self.work is None else self.work.to_json(),
        }
        return {
            "median_s": self.median,
            "min_s": min(self.seconds),
            "max_s": max(self.seconds),
            "seconds": list(self.seconds),
            "peak_mb": None if self.memory is None else self.memory / 1e6,
            **{key: value for key, value in counted.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One line of the table.

    Args:
        what: What was measured.
        against: What it is compared with.
        value: The ratio, or seconds.
        target: What is to be reached.
        at_least: Whether larger is better.
        unit: `x`, `s` or `%`.
    """

    what: str
    against: str
    value: float
    target: float
    at_least: bool
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """What one benchmark found.

    Args:
        name: The benchmark.
        settings: What it ran on.
        timings: By program.
        rows: Ratios beside their targets.
        same: Whether the programs gave the same answers; None where there is nothing to compare.
        answers: One line on how their answers compare.
    """

    name: str
    settings: Mapping[str, Any]
    timings: Mapping[str, Timing]
    rows: Sequence[BenchmarkRow]
    same: bool | None
    answers: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "benchmark": self.name,
            "settings": dict(self.settings),
            "programs": {name: timing.to_json() for name, timing in self.timings.items()},
            "rows": [row.to_json() for row in self.rows],
            "same_answers": self.same,
            "answers": self.answers,
        }


def interleave(
    runs: Mapping[str, Callable[[], object]],
    repetitions: int,
    device: torch.device,
    progress: Progress,
    *,
    warm_up: bool = True,
) -> dict[str, Timing]:
    """Time programs in turns, so that what slows the machine down slows all of them.

    Args:
        runs: Program by name; called once to warm up, then `repetitions` times.
        repetitions: Timed calls of each.
        device: Where they run.
        progress: Called after every call.
        warm_up: Call each once before; it is then that memory is measured.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    memory: dict[str, int | None] = dict.fromkeys(runs)
    rounds = repetitions + warm_up
    for turn in range(rounds):
        for place, (name, run) in enumerate(runs.items()):
            if turn < warm_up:
                memory[name] = peak_beyond(run, device)
            else:
                seconds[name].append(_timed(run, device))
            progress(turn * len(runs) + place + 1, rounds * len(runs))
    timings = {}
    for name in runs:
        clock, processor = zip(*seconds[name], strict=True)
        timings[name] = Timing(clock, memory[name], processor=processor)
    return timings


def _timed(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return the seconds that a call takes on the clock, and of the processor."""
    _wait(device)
    start = time.perf_counter(), _processor_seconds()
    run()
    _wait(device)
    return time.perf_counter() - start[0], _processor_seconds() - start[1]


def _processor_seconds() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def held_by(module: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))


class Convolution:
    """The 3x3 convolution of FPN's P2, channels-last: what the machine itself reaches.

    Args:
        channels: C.
        image_size: (height, width) of the image; the map is a quarter of it.
        device: Where it runs.
        dtype: Type of its numbers.
    """

    def __init__(
        self,
        channels: int,
        image_size: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        height, width = (max(side // 4, 1) for side in image_size)
        options = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
        self.map = torch.randn(1, channels, height, width).to(**options)  # type: ignore[call-overload]
        self.weight = torch.randn(channels, channels, 3, 3).to(**options)  # type: ignore[call-overload]
        self.macs = 9 * channels * channels * height * width

    @torch.inference_mode()
    def __call__(self) -> None:
        """Convolve once."""
        F.conv2d(self.map, self.weight, padding=1)
