"""What a run tells: metrics files for programs, lines or a bar for people."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from dprd_cli.errors import ResourceError
from dprd_cli.files.atomic import write_atomically
from dprd_cli.runtime.progress import Progress, Work, on_terminal, progress, say
from dprd_cli.training.trackers import RowWatcher

Row = dict[str, Any]


class RunLog:
    """Writes `metrics.jsonl` and `metrics.csv`, and shows how far the run is.

    Every row has `kind` (`train` or `eval`) and `step`, the number of optimiser steps done.

    Args:
        folder: The run folder.
        steps: Steps of the whole run.
        start_step: Step that the run resumes from; rows after it are dropped from the files.
        on_step: Called with (steps done, steps in all) after each step.
    """

    def __init__(
        self, folder: Path, steps: int, start_step: int = 0, on_step: Progress | None = None
    ) -> None:
        self._folder = folder
        self._steps, self._start_step = steps, start_step
        self._on_step = on_step
        self._trackers: Sequence[RowWatcher] = ()
        self.rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["step"] <= start_step]
        self._columns: list[str] = []
        self._jsonl: TextIO | None = None
        self._csv: TextIO | None = None
        self._bars = False
        self._works: dict[str, Work] = {}
        self._open = ExitStack()
        self._evaluation = ExitStack()

    def start(self, trackers: Sequence[RowWatcher] = ()) -> None:
        """Write what is kept of the files, and show how far the run is from here on.

        Args:
            trackers: Where rows go too.
        """
        self._trackers = trackers
        folder = self._folder
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        write_atomically(folder / "metrics.jsonl", lambda file: file.write(text.encode()))
        self._jsonl = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._write_csv()
        self._bars = on_terminal()
        self._works["train"] = self._open.enter_context(progress("train", "steps", lines=False))
        self._works["train"].begin(self._start_step, self._steps)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._evaluation.close()
        self._open.close()
        for tracker in self._trackers:
            tracker.close()
        with contextlib.suppress(OSError):  # of a full disk: what could not be written is in a buffer still
            if self._jsonl is not None:
                self._jsonl.close()
        with contextlib.suppress(OSError):
            if self._csv is not None:
                self._csv.close()

    def say(self, line: str) -> None:
        """Tell a line; the bars on a terminal move below it."""
        say(line)

    def add(self, row: Row) -> None:
        """Append a row to both files and show it.

        Raises:
            ResourceError: If the disk is full.
        """
        row = {key: _finite(value) for key, value in row.items()}
        self.rows.append(row)
        try:
            self._append(row)
        except OSError as error:
            raise ResourceError(f"{self._folder}: cannot write the metrics ({error.strerror})") from error
        for tracker in self._trackers:
            tracker.add(row)
        if row["kind"] != "train":
            self.say(_eval_line(row, self._steps))
        else:
            self.show(row)

    def show(self, row: Row) -> None:
        """Show how training goes: beside the bar on a terminal, elsewhere as a line.

        Args:
            row: What `add` takes of steps that were trained; it is not written.
        """
        if "train" in self._works:
            self._works["train"].note = _note(row)
        if not self._bars:
            self.say(_train_line(row, self._steps))

    def add_image(self, name: str, path: Path, step: int) -> None:
        """Hand an image of the run folder, if it was drawn, to the trackers."""
        for tracker in self._trackers if path.is_file() else ():
            tracker.add_image(name, path, step)

    def progress(self, task: str, done: int, total: int) -> None:
        """Tell how far it is: `train`, or `evaluate`, of which nothing is shown when it is done."""
        if task == "train":
            if self._on_step is not None:
                self._on_step(done, total)
        elif task not in self._works:
            self._works[task] = self._evaluation.enter_context(progress(task))
            self._works[task].begin(done, total)  # when it started is not known
        if task in self._works:
            self._works[task](done, total)
        if task != "train" and done >= total:
            del self._works[task]
            self._evaluation.close()
            if (train := self._works.get("train")) is not None:
                train.begin(train.done, train.total)  # a step takes as long as it did before

    def evaluations(self) -> list[Row]:
        """Return the rows of evaluations."""
        return [row for row in self.rows if row["kind"] == "eval"]

    def _append(self, row: Row) -> None:
        assert self._jsonl is not None  # `start` opened it
        self._jsonl.write(json.dumps(row) + "\n")
        self._jsonl.flush()
        if row["kind"] == "eval":  # what comes of it, such as stopping early, must survive a power cut
            os.fsync(self._jsonl.fileno())
        if all(key in self._columns for key in row) and self._csv is not None:
            csv.DictWriter(self._csv, self._columns).writerow(row)
            self._csv.flush()
        else:
            self._write_csv()

    def _write_csv(self) -> None:
        """Write the whole CSV: its columns are the union of the rows' keys, in order of appearance."""
        if self._csv is not None:
            self._csv.close()
        known = dict.fromkeys(self._columns)
        self._columns = list(known | dict.fromkeys(key for row in self.rows for key in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(self.rows)
        path = self._folder / "metrics.csv"
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))
        self._csv = path.open("a", encoding="utf-8", newline="")


class SilentLog(RunLog):
    """Neither writes nor says anything: for the ranks that another one writes for."""

    def __init__(self) -> None:
        self.rows = []

    def start(self, trackers: Sequence[RowWatcher] = ()) -> None:
        """Write and show nothing."""

    def __exit__(self, *exception: object) -> None:
        """Nothing to close."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def add(self, row: Row) -> None:
        """Write nothing."""

    def show(self, row: Row) -> None:
        """Show nothing."""

    def add_image(self, name: str, path: Path, step: int) -> None:
        """Hand on nothing."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Show nothing."""


class Means:
    """Means of what was added since the last `take`; on CUDA nothing waits before that."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Add one observation of each key."""
        for key, value in values.items():
            value = value.detach().float() if isinstance(value, Tensor) else value
            self._sums[key] = self._sums.get(key, 0.0) + value
            self._counts[key] = self._counts.get(key, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the means so far."""
        return {key: float(total) / self._counts[key] for key, total in self._sums.items()}

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = self.means()
        self._sums, self._counts = {}, {}
        return means

    def state(self) -> dict[str, tuple[Any, int]]:
        """Return the sum and the count of each key, for `restore`."""
        return {key: (total, self._counts[key]) for key, total in self._sums.items()}

    def restore(self, state: Mapping[str, tuple[Any, int]]) -> None:
        """Go on from a `state`: the next means are what they would have been."""
        self._sums = {key: total for key, (total, _) in state.items()}
        self._counts = {key: count for key, (_, count) in state.items()}


def read_metrics(path: Path) -> list[Row]:
    """Return the rows of a `metrics.jsonl`; lines that a kill cut short or a disk spoilt are left out."""
    rows = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and "kind" in row:
            rows.append(row)
    return rows


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _note(row: Row) -> str:
    return f"loss {_number(row['loss'], 3)}" if "loss" in row else ""


def _train_line(row: Row, steps: int) -> str:
    left = (steps - row["step"]) * row["seconds_per_step"]
    parts = [f"step {row['step']}/{steps}", f"loss {_number(row['loss'], 3)}", f"lr {row['lr']:.2e}"]
    parts += [
        f"{key} {_number(row[key], 2)}" for key in ("grad_norm", "part_grad_norm", "part_iou") if key in row
    ]
    parts.append(f"{row['seconds_per_step']:.2f} s/step")
    parts.append(f"{_number(row['data_wait'], 2)} s wait")
    parts.append(f"{left / 60:.0f} min left")
    return "  ".join(parts)


def _eval_line(row: Row, steps: int) -> str:
    names = {"bbox_AP": "box AP", "bbox_AP50": "AP50", "segm_AP": "mask AP"}
    names |= {"voc_11_point_AP50": "VOC07 mAP"}
    parts = [f"{text} {_number(row[key], 1)}" for key, text in names.items() if key in row]
    parts += [f"{key} {_number(row[key], 3)}" for key in ("recall50", "recall70", "part_iou") if key in row]
    return f"step {row['step']}/{steps}  evaluation of {row['images']} images: " + "  ".join(parts)
