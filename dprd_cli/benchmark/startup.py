"""From the start of the process: help, and one image with the demo weights."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, Timing, interleave
from dprd_cli.benchmark.rule_weights import reference_image
from dprd_cli.errors import UserError
from dprd_cli.files.images import read_image, write_image
from dprd_cli.inference.predictor import Predictor
from dprd_cli.runtime.progress import Progress
from dprd_cli.weights.load import load_model

_HELP, _PREDICT, _IMPORTS = "dprd --help", "dprd predict", 'python -c "import torch, torchvision"'


def startup(image_size: tuple[int, int], repetitions: int, progress: Progress) -> BenchmarkReport:
    """Time processes of this program, and the imports and the inference that one of them cannot do without.

    Args:
        image_size: (height, width) of the image.
        repetitions: Timed turns.
        progress: Called after every call.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        write_image(path, reference_image(*image_size).permute(1, 2, 0).to(torch.uint8).numpy())
        predictor = Predictor(load_model("demo", "cpu"))
        image = read_image(path, predictor.config.data.max_pixels)
        dprd = (sys.executable, "-m", "dprd_cli")
        out = ("--out", f"{folder}/out", "--overwrite")
        command = ("predict", str(path), "--weights", "demo", "--device", "cpu", *out)
        runs: dict[str, Callable[[], object]] = {
            _HELP: _process(*dprd, "--help"),
            _IMPORTS: _process(sys.executable, "-c", "import torch, torchvision"),
            _PREDICT: _process(*dprd, *command),
        }
        timings = interleave(runs, repetitions, torch.device("cpu"), progress)
        timings = {name: replace(timing, memory=None) for name, timing in timings.items()}
        timings["inference"] = _inference(predictor, image, repetitions)
    floor = timings[_IMPORTS].median + timings["inference"].median
    return BenchmarkReport(
        "startup",
        {"image_size": list(image_size)},
        timings,
        [
            BenchmarkRow(_HELP, "the clock", timings[_HELP].median, 0.5, at_least=False, unit="s"),
            BenchmarkRow(f"{_PREDICT} of one image", "importing torch and torchvision, plus inference",
                timings[_PREDICT].median / floor, 1.5, at_least=False),
        ],
        None,
        "nothing to compare",
    )  # fmt: skip


def _process(*command: str) -> Callable[[], object]:
    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"{' '.join(command)}: {done.stderr.strip()}")

    return run


def _inference(predictor: Predictor, image: np.ndarray, repetitions: int) -> Timing:
    seconds = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        predictor.predict(image)
        seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds[1:]), None)
