"""Timing in turns, peak memory, the machine, and what a run of a benchmark reports."""

from __future__ import annotations

import datetime
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from dprd_cli.runtime.memory import peak_beyond
from dprd_cli.runtime.progress import Progress

_PACKAGES = ("torch", "torchvision", "detectron2", "numpy", "pycocotools", "faster-coco-eval")


class Timing(NamedTuple):
    """Seconds of one program.

    Args:
        seconds: Seconds of each repetition, in order.
        memory: Most bytes that the first call held beyond what was there before, or None where the system
            does not say.
    """

    seconds: list[float]
    memory: int | None

    @property
    def median(self) -> float:
        """The median of the repetitions."""
        return statistics.median(self.seconds)


class BenchmarkRow(NamedTuple):
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
        numbers: By program: multiply-accumulates, throughput, and what else was counted.
    """

    name: str
    settings: dict[str, Any]
    timings: dict[str, Timing]
    rows: list[BenchmarkRow]
    same: bool | None
    answers: str
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable containers; seconds, MB, GMAC."""
        programs = {
            name: {
                "median_s": timing.median,
                "min_s": min(timing.seconds),
                "max_s": max(timing.seconds),
                "seconds": timing.seconds,
                "peak_mb": None if timing.memory is None else timing.memory / 1e6,
                **self.numbers.get(name, {}),
            }
            for name, timing in self.timings.items()
        }
        return {
            "benchmark": self.name,
            "settings": self.settings,
            "programs": programs,
            "rows": [{**row._asdict(), "met": row.met} for row in self.rows],
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
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    memory: dict[str, int | None] = dict.fromkeys(runs)
    rounds = repetitions + warm_up
    for turn in range(rounds):
        for place, (name, run) in enumerate(runs.items()):
            if turn < warm_up:
                memory[name] = peak_beyond(run, device)
            else:
                seconds[name].append(_timed(run, device))
            progress(turn * len(runs) + place + 1, rounds * len(runs))
    return {name: Timing(seconds[name], memory[name]) for name in runs}


def _timed(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


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
    """

    def __init__(self, channels: int, image_size: tuple[int, int], device: torch.device) -> None:
        height, width = (max(side // 4, 1) for side in image_size)
        options = {"device": device, "memory_format": torch.channels_last}
        self.map = torch.randn(1, channels, height, width).to(**options)  # type: ignore[call-overload]
        self.weight = torch.randn(channels, channels, 3, 3).to(**options)  # type: ignore[call-overload]
        self.macs = 9 * channels * channels * height * width

    @torch.inference_mode()
    def __call__(self) -> None:
        """Convolve once."""
        F.conv2d(self.map, self.weight, padding=1)


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers depend on: processor, device, threads, versions, date."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
