"""Take backbones through the whole program, by its command line, on a small network and small images.

    python scripts/check_backbones.py                          # three, and that of docs/extend.md
    python scripts/check_backbones.py plain --plugin plain.py  # one of yours

Of each backbone, from a random start: trains 4 steps, goes on to 8, and trains 8 at once, which must leave
the same checkpoint to the bit; measures it; exports it to ONNX, and compares what the file finds
(`dprd_cli.onnx.Detector`) with what `dprd predict` finds. One line a step, with its processor seconds; ends
with 1 where one failed. On the CPU, in one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dprd_cli.onnx import Detector
from dprd_cli.weights.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("convnext_tiny", "swin_v2_t", "timm:resnet18.a1_in1k")
IMAGES = [str(ROOT / "assets" / "images" / f"val_00000{number}.png") for number in range(3)]
#: A rate that does not depend on how many steps there are to be, sides that no stage divides evenly, and the
#: precision of exported files.
SETTINGS = (
    "train.decay=multistep",
    "train.milestones=[]",
    "data.synthetic_size=96",
    "data.train_min_sizes=[96]",
    "data.test_min_size=96",
    "train.precision=fp32",
)
#: How near a detection of the file must be: pixels, score. As `dprd export --check` asks.
PIXELS, SCORE = 0.5, 0.01


class StepError(Exception):
    """A step that did not do what it should, with one line that says so."""


class Check:
    """A backbone on its way through the program.

    Args:
        name: The backbone.
        plugin: File that registers it, or None.
        folder: Where all of it is written; exists.
    """

    def __init__(self, name: str, plugin: Path | None, folder: Path) -> None:
        self.name, self.folder = name, folder
        plugins = [] if plugin is None else ["--plugin", str(plugin)]
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        self._start = ["--config", str(ROOT / "tests" / "tiny.toml"), *settings, *plugins, "--backbone", name]

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what is done, in its order, by name; each raises `StepError`."""
        return {
            "train": lambda: self._dprd("train", *self._start, "--steps", "4", "--out", "stopped"),
            "resume": lambda: self._dprd("train", "--resume", "stopped", "--steps", "8"),
            "straight": lambda: self._dprd("train", *self._start, "--steps", "8", "--out", "straight"),
            "same bits": self._compare_runs,
            "eval": lambda: self._dprd("eval", "--weights", "stopped", "--no-plots", "--limit", "4"),
            "export": lambda: self._dprd("export", "--weights", "stopped/last.pt", "--out", "model.onnx"),
            "predict": lambda: self._dprd(
                "predict", *IMAGES, "--weights", "stopped/last.pt", "--score-thresh", "0", "--save", "coco"
            ),
            "onnx": self._compare_detections,
        }

    def _dprd(self, *words: str) -> None:
        """Run a command line; what was named with --plugin is known to this cache alone."""
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(self.folder / "cache")}
        device = [] if words[0] == "export" or "--resume" in words else ["--device", "cpu"]
        line = [sys.executable, "-m", "dprd_cli", *words, *device, "--quiet"]
        done = subprocess.run(
            line, cwd=self.folder, env=os.environ | own, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing was said"]
            raise StepError(f"exit code {done.returncode}: {said[-1]}")

    def _compare_runs(self) -> None:
        one, other = (read_checkpoint(self.folder / run / "last.pt") for run in ("stopped", "straight"))
        if one["step"] != 8:
            raise StepError(f"step {one['step']} instead of 8")
        for part in ("model", "optimizer"):
            differing = _differing(one[part], other[part], part)
            if differing:
                raise StepError(f"{len(differing)} values differ, such as {differing[0]}")

    def _compare_detections(self) -> None:
        detector = Detector(self.folder / "model.onnx", score_thresh=0.0)
        expected: list[dict[str, Any]] = json.loads(
            (self.folder / "predictions" / "results.json").read_text()
        )
        total = 0
        for number, image in enumerate(IMAGES, start=1):
            theirs = [row for row in expected if row["image_id"] == number]
            mine = detector.predict(image).to_coco(number, masks=False, parts=False)
            total += len(theirs)
            missing = [row for row in theirs if not any(_near(row, other) for other in mine)]
            if len(mine) != len(theirs) or missing:
                raise StepError(
                    f"{Path(image).name}: {len(mine)} detections, {len(missing)} of {len(theirs)} missing"
                )
        if not total:
            raise StepError("no detections to compare")


def _differing(one: Any, other: Any, name: str) -> list[str]:
    """Return the names of the values that are not the same to the bit."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in _differing(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, (a, b) in pairs for found in _differing(a, b, f"{name}.{number}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [name]
    return [] if one == other else [name]


def _near(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether two detections are of one class and at one place, with one score."""
    same = one["category_id"] == other["category_id"] and abs(one["score"] - other["score"]) <= SCORE
    return same and all(abs(a - b) <= PIXELS for a, b in zip(one["bbox"], other["bbox"], strict=True))


def check(name: str, plugin: Path | None) -> bool:
    """Take a backbone through all steps, saying how each ended; return whether all went well."""
    with tempfile.TemporaryDirectory() as folder:
        for step, do in Check(name, plugin, Path(folder)).steps().items():
            before = _processor_seconds()
            try:
                do()
            except StepError as error:
                print(f"{name:<22} {step:<10} failed  {error}", flush=True)
                return False  # the later steps need this one
            print(f"{name:<22} {step:<10} ok  {_processor_seconds() - before:.1f} s", flush=True)
    return True


def _processor_seconds() -> float:
    return sum(os.times()[:4])


def main() -> None:
    """Check the backbones that are named, or those of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--plugin", type=Path, metavar="FILE.py", help="registers the backbones that are named"
    )
    asked = parser.parse_args()
    plugin = asked.plugin and asked.plugin.resolve()
    if asked.names:
        sys.exit(0 if all([check(name, plugin) for name in asked.names]) else 1)
    fine = [check(name, plugin) for name in NAMES]
    page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n# plain\.py\n(.*?)```", page, re.DOTALL)
    if code is None:
        sys.exit("error: docs/extend.md has no plain.py")
    with tempfile.TemporaryDirectory() as folder:
        example = Path(folder) / "plain.py"
        example.write_text(code[1], encoding="utf-8")
        fine.append(check("plain", example))
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
