"""Every benchmark in turn, and its results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from dprd_cli.benchmark.data_check import data_check
from dprd_cli.benchmark.detectors import inference, train
from dprd_cli.benchmark.machine import Machine
from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, Timing
from dprd_cli.benchmark.networks import BenchmarkImages
from dprd_cli.benchmark.operations import evaluation, paste, roialign
from dprd_cli.benchmark.prediction import prediction
from dprd_cli.benchmark.profile import (
    ProfileReport,
    profile_inference,
    profile_training,
    side_of,
    training_config,
)
from dprd_cli.benchmark.startup import startup
from dprd_cli.errors import UsageError, UserError
from dprd_cli.runtime.progress import Progress

KINDS = ("inference", "train", "roialign", "eval", "paste", "startup", "predict", "check")
_TURNS = 5
_SLOW = {"eval": 3, "predict": 1, "check": 3}  # turns, of which each takes a minute or more
_IMAGES = 5000
_PHOTOGRAPH = (480, 640)


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """What the benchmarks run on.

    Args:
        against: The peer of `inference` and `train`.
        preset: What is compared with another preset.
        image_size: (height, width), or None for the one that each benchmark has.
        batch: Images at a time, or None for each benchmark's own.
        proposals: RoIs of the box branch at test or of `roialign`, or None.
        images: Images of `eval`, `predict` and `check`, or None for as many as the targets are for.
        repetitions: Timed turns, or None for each benchmark's own number.
        device: Where the networks run.
        compiled: Compile this project's backbone and neck.
        precision: `fp32` or `bf16`, of `inference` and `train`.
        profiled: Tell where the preset's time goes, in place of comparing it.
        weights: The detector of `predict`; `demo` by default.
        folder: Images of one's own for `predict`, or a data set for `check`.
    """

    against: str
    preset: str
    image_size: tuple[int, int] | None
    batch: int | None
    proposals: int | None
    images: int | None
    repetitions: int | None
    device: torch.device
    compiled: bool
    precision: str = "fp32"
    profiled: bool = False
    weights: str = ""
    folder: str = ""

    def inputs(self, image_size: tuple[int, int], batch: int) -> BenchmarkImages:
        """Return the images, of this size and number unless others were asked for."""
        size = self.image_size or image_size
        count = self.batch or batch
        return BenchmarkImages(size, count, self.proposals or 1000, self.device, self.precision)


def run(kind: str, settings: BenchmarkSettings, progress: Progress) -> BenchmarkReport:
    """Run one benchmark.

    Args:
        kind: One of `KINDS`.
        settings: What it runs on.
        progress: Called after every call of a program.
    """
    size, turns = settings.image_size or (800, 1216), settings.repetitions or _SLOW.get(kind, _TURNS)
    small, images, place = settings.image_size or _PHOTOGRAPH, settings.images or _IMAGES, settings.device
    detectors = {"inference": (inference, (800, 1216), 1), "train": (train, (512, 640), 2)}
    if kind in detectors:
        measure, image_size, batch = detectors[kind]
        inputs = settings.inputs(image_size, batch)
        return measure(inputs, settings.against, settings.preset, turns, progress, compiled=settings.compiled)
    others: dict[str, Callable[[], BenchmarkReport]] = {
        "roialign": lambda: roialign(size, settings.proposals or 2048, turns, place, progress),
        "eval": lambda: evaluation(images, turns, progress),
        "paste": lambda: paste(size, 100, turns, progress),
        "startup": lambda: startup(small, turns, progress),
        "predict": lambda: prediction(
            settings.images,
            small,
            settings.batch or 1,
            repetitions=turns,
            device=place,
            progress=progress,
            weights=settings.weights,
            folder=settings.folder,
        ),
        "check": lambda: data_check(images, small, turns, progress, folder=settings.folder),
    }
    return others[kind]()


def profile(kind: str, settings: BenchmarkSettings, progress: Progress) -> ProfileReport:
    """Tell where the time of a preset's inference or training goes.

    Args:
        kind: `inference` or `train`.
        settings: What it runs on; `against` is not used.
        progress: Called after every turn.
    """
    if kind == "inference":
        inputs = settings.inputs((800, 1216), 1)
        return profile_inference(inputs, settings.preset, settings.repetitions or _TURNS, progress)
    side = side_of(settings.image_size)
    config = training_config(settings.preset, side, settings.batch, settings.precision)
    return profile_training(config, settings.repetitions or _TURNS, progress)


def run_all(
    settings: BenchmarkSettings, progress: Progress, say: Callable[[str], None]
) -> tuple[list[BenchmarkReport], list[str]]:
    """Run every benchmark against every peer; what cannot run is named, and the others go on.

    Args:
        settings: What they run on; `against` is not used.
        progress: Called after every call of a program.
        say: Called with a line before each benchmark.

    Returns:
        The reports, and a line for each benchmark that could not run.
    """
    jobs = [(kind, against) for kind in KINDS[:2] for against in ("torchvision", "detectron2", "mask-rcnn")]
    reports, missing = [], []
    for kind, against in [*jobs, *((kind, "") for kind in KINDS[2:])]:
        title = f"{kind} against {against}" if against else kind
        say(f"{title} ...")
        mine = replace(settings, against=against)
        if mine.repetitions and kind in _SLOW:
            mine = replace(mine, repetitions=min(mine.repetitions, _SLOW[kind]))
        try:
            reports.append(run(kind, mine, progress))
        except (UserError, RuntimeError, OSError) as error:
            missing.append(f"{title}: {' '.join(str(error).split())[:300]}")
            say(f"not measured: {missing[-1]}")
    return reports, missing


def check(kind: str, settings: BenchmarkSettings) -> None:
    """Check that options belong together.

    Raises:
        UsageError: If not.
    """
    if kind not in ("inference", "train", "all") and settings.compiled:
        raise UsageError(f"--compile: {kind} has no network to compile; inference and train have")
    if kind not in ("inference", "train", "all") and settings.precision == "bf16":
        raise UsageError(f"--precision bf16: {kind} is measured in float32; inference and train in both")
    if settings.weights and kind != "predict":
        raise UsageError("--weights: for predict alone")
    if settings.folder and kind not in ("predict", "check"):
        raise UsageError("--folder: for predict and check alone")
    if settings.profiled and kind not in ("inference", "train"):
        raise UsageError(f"--profile: of inference and train, not of {kind}")
    if settings.profiled and (settings.compiled or settings.device.type != "cpu"):
        raise UsageError("--profile: operator by operator on a CPU; leave out --compile and --device")


def profile_markdown(report: ProfileReport, machine: Machine) -> str:
    """Return the table of a profile and the machine, ready to paste."""
    settings = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    lines = [
        f"{machine.date}, {machine.processor}, {machine.software}.",
        "",
        f"| {report.name}: {settings} | s | % | operators | GMAC/s |",
        "|---|--:|--:|--:|--:|",
        *(f"| {' | '.join(row)} |" for row in (*report.rows(), report.total())),
    ]
    return "\n".join(lines) + "\n"


def markdown(reports: Sequence[BenchmarkReport], missing: Sequence[str], machine: Machine) -> str:
    """Return the table of all rows, the machine, and what each program took, ready to paste."""
    place = machine.processor if machine.device == "cpu" else machine.device
    lines = [
        f"{machine.date}, {place}, {machine.software}.",
        "",
        "| what | against | measured | target | |",
        "|---|---|---|---|---|",
    ]
    for report in reports:
        lines += [_line(row) for row in report.rows]
    lines += [
        "",
        "| benchmark | program | median | range | turns | processor | peak memory | GMAC/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        lines += [_timing_line(report.name, name, timing) for name, timing in report.timings.items()]
    lines += ["", "Answers:", ""]
    lines += [f"- {report.name}, {' and '.join(report.timings)}: {report.answers}" for report in reports]
    lines += [f"- not measured: {line}" for line in missing]
    return "\n".join(lines) + "\n"


def _timing_line(benchmark: str, program: str, timing: Timing) -> str:
    memory = "" if timing.memory is None else f"{timing.memory / 1e6:.0f} MB"
    rate = "" if timing.rate is None else f"{timing.rate / 1e9:.0f}"
    spread = f"{min(timing.seconds):.3g}..{max(timing.seconds):.3g} s"
    turns = str(len(timing.seconds))
    processor = "" if timing.processor_median is None else f"{timing.processor_median:.3g} s"
    cells = (benchmark, program, f"{timing.median:.3g} s", spread, turns, processor, memory, rate)
    return f"| {' | '.join(cells)} |"


def _line(row: BenchmarkRow) -> str:
    sign = ">=" if row.at_least else "<="
    verdict = "met" if row.met else "missed"
    measured, target = show(row.value, row.unit), show(row.target, row.unit)
    return f"| {row.what} | {row.against} | {measured} | {sign} {target} | {verdict} |"


def show(value: float, unit: str) -> str:
    """Write a ratio, seconds or a percentage."""
    return f"{value:.0f} %" if unit == "%" else f"{value:.2f}{'x' if unit == 'x' else ' s'}"
