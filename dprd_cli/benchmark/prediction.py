"""`dprd predict` of many images, from the start of the process to the last file, over its network alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, interleave
from dprd_cli.benchmark.photographs import write_photographs
from dprd_cli.errors import DataError, UserError
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import ImageInput, Predictor, ReadFailure
from dprd_cli.inference.sources import Source, find_sources
from dprd_cli.runtime.progress import Progress
from dprd_cli.weights.load import load_model

_PREDICT, _NETWORK = "dprd predict", "the network alone"


def prediction(
    images: int | None,
    image_size: tuple[int, int],
    batch: int,
    *,
    repetitions: int,
    device: torch.device,
    progress: Progress,
    weights: str = "",
    folder: str = "",
) -> BenchmarkReport:
    """Time `dprd predict` with all that it writes by default, and the same detector on images in memory.

    The process starts, imports, loads the weights, reads, detects, draws and writes; the network gets the
    same images, decoded and resized before, in the same batches and with as many threads.

    Args:
        images: Number of images; None for 1,000, or all of a folder.
        image_size: (height, width) of generated ones.
        batch: Images at a time.
        repetitions: Timed turns.
        device: Where the network runs.
        progress: Called after every call.
        weights: The detector; `demo` by default.
        folder: Images of one's own in place of generated ones.

    Raises:
        DataError: If an image cannot be read.
        UserError: If the command fails.
    """
    weights = weights or "demo"
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        if folder:
            files = [source.path for source in find_sources([folder])][:images]
        else:
            (work / "images").mkdir()
            files = write_photographs(work / "images", images or 1000, image_size)
        names = work / "names.txt"
        names.write_text("\n".join(map(str, files)), encoding="utf-8")
        predictor = Predictor(load_model(weights, str(device)).with_precision("fp32"))
        inputs = [_read(predictor, path) for path in files]
        found: list[Prediction] = []

        def network() -> None:
            found[:] = predictor.predict_inputs(inputs, batch)

        command = ["predict", "--list", str(names), "--weights", weights, "--device", str(device)]
        command += ["--precision", "fp32", "--batch-size", str(batch), "--out", f"{place}/out", "--overwrite"]
        list(predictor.predict_inputs(inputs[:batch], batch))  # what is done once
        runs: dict[str, Callable[[], object]] = {_NETWORK: network, _PREDICT: lambda: run_dprd(command)}
        timings = interleave(runs, repetitions, torch.device("cpu"), progress, warm_up=False)
        wrong = _difference(found, work / "out" / "results.json")
    timings = {name: replace(timing, memory=None) for name, timing in timings.items()}
    kind = "photographs of one's own" if folder else f"generated images of {image_size[0]}x{image_size[1]}"
    return BenchmarkReport(
        "predict",
        {"images": len(files), "kind": kind, "weights": weights, "batch": batch},
        timings,
        [
            BenchmarkRow(
                f"{_PREDICT} of {len(files)} images, drawn, with results, {weights} weights",
                _NETWORK,
                timings[_PREDICT].median / timings[_NETWORK].median,
                1.15,
                at_least=False,
            )
        ],
        not wrong,
        wrong or f"{sum(map(len, found))} detections, their scores equal; {kind}",
    )


def run_dprd(command: Sequence[str], **variables: str) -> str:
    """Run this program with as many threads as this process has, and return what it prints.

    Args:
        command: Its arguments.
        variables: Environment variables to set.

    Raises:
        UserError: If it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **variables}
    arguments = [sys.executable, "-m", "dprd_cli", *command]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(f"dprd {' '.join(command)}: {lines[-1] if lines else done.returncode}")
    return done.stdout


def _read(predictor: Predictor, path: Path) -> ImageInput:
    """Read and resize an image; of the image itself only the size is kept."""
    item = predictor.read(Source("image", str(path)))
    if isinstance(item, ReadFailure):
        raise DataError(item.message)
    return replace(item, image=np.broadcast_to(np.uint8(0), item.image.shape))


def _difference(found: Sequence[Prediction], results: Path) -> str:
    """Return how the scores of a results file differ from those that were found, or an empty string."""
    written = [record["score"] for record in json.loads(results.read_text(encoding="utf-8"))]
    scores = [score for one in found for score in one.detections.scores.tolist()]
    if len(written) != len(scores):
        return f"{len(written)} detections in results.json, {len(scores)} of the network alone"
    largest = max((abs(a - b) for a, b in zip(written, scores, strict=True)), default=0.0)
    return f"scores differ by {largest:.2g}" if largest > 1e-4 else ""
