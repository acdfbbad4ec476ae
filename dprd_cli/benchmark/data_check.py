"""`dprd data check` of many images, over reading and decoding them with as many processes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, interleave
from dprd_cli.benchmark.operations import generate
from dprd_cli.benchmark.photographs import write_photographs
from dprd_cli.benchmark.prediction import run_dprd
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.splits import find_source, open_split, parts_of
from dprd_cli.runtime.progress import Progress
from dprd_cli.runtime.workers import WorkerPool
from dprd_cli.structures.sample import SPLITS

_CHECK, _DECODE = "dprd data check", "reading and decoding alone"
_PROCESSES = 2
_CHUNK = 16  # images that a process is given at once
_OBJECTS = 7.2  # of an image, in the mean, as in COCO


def data_check(
    images: int,
    image_size: tuple[int, int],
    repetitions: int,
    progress: Progress,
    *,
    folder: str = "",
) -> BenchmarkReport:
    """Time the whole check with nothing known from before, and Pillow's decoding of the same files to pixels.

    Args:
        images: Number of generated ones, with 7.2 objects each.
        image_size: (height, width) of generated ones.
        repetitions: Timed turns.
        progress: Called after every call.
        folder: A data set of one's own in their place.

    Raises:
        UserError: If the data cannot be used.
    """
    with tempfile.TemporaryDirectory() as place:
        if not folder:
            _write_data(Path(place) / "data", images, image_size)
        path = folder or f"{place}/data"
        files = _files(path)
        for file in files:
            file.read_bytes()  # none is read from a disk that is slower for the first who asks
        decoded: list[int] = []
        command = ["data", "check", path, "--workers", str(_PROCESSES), "--json"]

        def check() -> None:
            with tempfile.TemporaryDirectory(dir=place) as cache:
                splits = json.loads(run_dprd(command, XDG_CACHE_HOME=cache))["splits"]
            decoded.append(sum(split["decoded"] for split in splits))

        runs: dict[str, Callable[[], object]] = {_DECODE: lambda: _decode_all(files), _CHECK: check}
        timings = interleave(runs, repetitions, torch.device("cpu"), progress, warm_up=False)
    timings = {name: replace(timing, memory=None) for name, timing in timings.items()}
    kind = "a data set of one's own" if folder else f"generated images of {image_size[0]}x{image_size[1]}"
    return BenchmarkReport(
        "check",
        {"images": len(files), "kind": kind, "processes": _PROCESSES},
        timings,
        [
            BenchmarkRow(
                f"{_CHECK} of {len(files)} images",
                f"{_DECODE}, {_PROCESSES} processes",
                timings[_CHECK].median / timings[_DECODE].median,
                1.2,
                at_least=False,
            )
        ],
        set(decoded) == {len(files)},
        f"{decoded[-1]} of {len(files)} images decoded; {kind}",
    )


def _write_data(folder: Path, count: int, image_size: tuple[int, int]) -> None:
    """Write images, and annotations of objects as polygons; four of five images are for training."""
    (folder / "images").mkdir(parents=True)
    paths = write_photographs(folder / "images", count, image_size)
    tree, _ = generate(count, _OBJECTS, 0, image_size)
    for image, path in zip(tree["images"], paths, strict=True):
        image["file_name"] = path.name
    first = max(1, count * 4 // 5)
    for split, chosen in zip(SPLITS, (tree["images"][:first], tree["images"][first:]), strict=True):
        ids = {image["id"] for image in chosen}
        anns = [ann for ann in tree["annotations"] if ann["image_id"] in ids]
        content = {**tree, "images": chosen, "annotations": anns}
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def _files(path: str) -> list[Path]:
    """Return the images of both splits, each once."""
    config = DataConfig(path=path)
    source = find_source(config)
    files: dict[Path, None] = {}
    for split in parts_of(source, config):
        annotations = open_split(source, config, split, None)
        names = (image["file_name"] for image in annotations.read(Problems())["images"])
        files |= dict.fromkeys(annotations.images_dir / name for name in names)
    return list(files)


def _decode_all(files: list[Path]) -> None:
    chunks = (files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK))
    for _ in WorkerPool(_decode, _PROCESSES).map(chunks):
        pass


def _decode(files: Iterable[Path]) -> None:
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB"))
