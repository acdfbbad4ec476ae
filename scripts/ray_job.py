"""ray_job.py FOLDER [--images N] [--workers N] [--kill worker|job]: a Ray job that is hit, and one process.

Makes images of noise (64 pixels) and a tiny network that was never trained, in FOLDER. Detects in them in one
process, then by `dprd predict --ray` on so many workers of this machine. When a third of the files are there,
one worker is killed (SIGKILL), or the whole job, which is then started again by the same line. Compares all
rows, and prints what was measured. Ends with 1 where a row differs, is missing, or is there twice.

    pip install 'dprd-cli[ray]'
    python scripts/ray_job.py ray-trial --images 2000 --workers 2 --kill worker
    python scripts/ray_job.py ray-trial --images 2000 --workers 2 --kill job

Linux only: workers are found in /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dprd_cli.config.presets import resolve
from dprd_cli.distributed.detect import DetectOptions
from dprd_cli.distributed.job import run_job
from dprd_cli.distributed.pieces import find_content
from dprd_cli.distributed.results import parquet_results
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint

PIECE, BATCH = 50, 10
TINY = (
    "model.backbone.name=mobilenet_v2",
    "model.neck.channels=16",
    "model.rpn.pre_nms_test=50",
    "model.rpn.post_nms_test=20",
    "model.heads.box_dim=16",
    "model.heads.mask_channels=8",
    "model.heads.mask_convs=1",
    "model.heads.mask_iou_channels=8",
    "model.heads.mask_iou_dim=16",
    "model.test.detections_per_image=4",
    "model.test.score_thresh=0.0",
    "data.test_min_size=64",
)


def main() -> None:
    """Do both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", choices=("worker", "job"), default="worker")
    asked = parser.parse_args()
    folder: Path = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    weights, names = _save_network(folder / "tiny.pt"), _save_images(folder / "images", asked.images)
    listed = folder / "names.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    for name in ("one", "ray"):
        shutil.rmtree(folder / name, ignore_errors=True)
    one, seconds = _in_one_process(str(listed), folder / "one", weights)
    print(f"one process: {json.dumps(one)}, {seconds:.1f} s, {len(names) / seconds:.1f} images/s", flush=True)
    line = [sys.executable, "-m", "dprd_cli", "predict", "--ray", "local", "--actors", str(asked.workers)]
    line += ["--list", str(listed), "--weights", weights, "--device", "cpu", "--piece-size", str(PIECE)]
    line += ["--batch-size", str(BATCH)]
    line += ["--out", str(folder / "ray"), "--json"]
    started = time.monotonic()
    summary, hit = _on_ray(line, folder / "ray", whole_job=asked.kill == "job")
    seconds = time.monotonic() - started
    print(f"{asked.workers} workers, killed: {hit}: {json.dumps(summary)}, {seconds:.1f} s with all starts")
    sys.exit(_compare(folder, names))


def _save_network(path: Path) -> str:
    """Write a checkpoint of a network that was never trained, the same each time; return its path."""
    torch.manual_seed(0)
    config = resolve(preset="cascade-dprd-small", overrides=TINY)
    state = build_detector(config.model, num_classes=2, with_masks=True).state_dict()
    torch.nn.init.normal_(state["roi_heads.parts.layer.bias"], std=0.1)
    content = {"config": config.model_dump(mode="json"), "class_names": ["cat", "dog"], "step": 0}
    save_checkpoint(path, content | {"category_ids": [1, 2], "with_masks": True, "model": state})
    return str(path)


def _save_images(folder: Path, count: int) -> list[str]:
    """Write images, the same each time; return their names, with two that cannot be read in their midst."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    names = []
    for number in range(count):
        path = folder / f"{number:06d}.png"
        if number == count // 2:
            path.write_text("no image")
        elif number != count // 3:  # which is missing
            Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
        names.append(str(path))
    return names


def _in_one_process(listed: str, out: Path, weights: str) -> tuple[dict[str, Any], float]:
    started = time.monotonic()
    contents = find_content([], [listed], [], PIECE)
    summary = run_job(contents, parquet_results(str(out)), DetectOptions(weights, "cpu", batch_size=BATCH))
    return summary.to_json(), time.monotonic() - started


def _on_ray(line: list[str], out: Path, *, whole_job: bool) -> tuple[dict[str, Any], str]:
    """Run the command line, kill what is to be killed, and return what it says and what was killed."""
    job = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    pieces = len(list((out.parent / "one").rglob("piece-*.parquet")))
    while len(there := list(out.rglob("piece-*.parquet"))) < pieces // 3:
        if job.poll() is not None:
            sys.exit(f"the job ended with {job.returncode} before it could be hit")
        time.sleep(0.05)
    if not whole_job:
        worker = next(pid for pid, name in _below(job.pid) if name.startswith("ray::Map"))
        os.kill(worker, signal.SIGKILL)
        output, _ = job.communicate()
        return _checked(job.returncode, output), f"a worker, when {len(there)} of {pieces} files were there"
    others = [pid for pid, _ in _below(job.pid)]
    job.kill()
    job.wait()
    for pid in others:  # as a machine that goes down takes all of them
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("piece-*.parquet")}
    again = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    untouched = sum(path.stat().st_mtime_ns == when for path, when in before.items())
    hit = f"the job, when {len(before)} of {pieces} files were there ({untouched} of them were left alone)"
    return _checked(again.returncode, again.stdout), hit


def _below(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the processes that a process has started, and those that they have, with their command lines."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            name = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
        if parent == pid:
            yield int(path.name), name
            yield from _below(int(path.name))


def _checked(code: int, output: str) -> dict[str, Any]:
    if code != 3:  # two images cannot be read
        sys.exit(f"the job ended with {code}")
    found: dict[str, Any] = json.loads(output)
    return found


def _compare(folder: Path, names: list[str]) -> int:
    """Say how the rows compare, and return the exit code."""
    import pyarrow as pa
    from pyarrow import parquet

    tables = []
    for name in ("one", "ray"):
        files = sorted((folder / name).rglob("piece-*.parquet"))
        tables.append(pa.concat_tables([parquet.ParquetFile(file).read() for file in files]))
    one, other = tables
    once = other["file"].to_pylist() == names
    errors = [text for text in other["error"].to_pylist() if text]
    objects = sum(map(len, other["detections"].to_pylist()))
    print(f"{other.num_rows} rows for {len(names)} names, {objects} detections, {len(errors)} errors")
    print(f"each name once, in order: {once}; rows equal to one process's: {one.equals(other)}")
    return 0 if once and one.equals(other) else 1


if __name__ == "__main__":
    main()
