"""A job: everything that is named, detected in piece by piece into one folder; what was stopped goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dprd_cli.distributed.detect import DetectOptions
from dprd_cli.distributed.engines import DetectingWorker, Engine, LoopEngine
from dprd_cli.distributed.pieces import PieceContent, numbered_pieces
from dprd_cli.distributed.results import JobResults
from dprd_cli.errors import DataError, InterruptedRun
from dprd_cli.runtime.progress import progress, say
from dprd_cli.runtime.signals import StopRequest


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a job did.

    Args:
        out: The folder or prefix of the Parquet files.
        pieces: How many pieces there are in all.
        done_before: How many of them were there already.
        done: How many are done now.
        images: Images that were looked at now.
        unreadable: Those of them that could not be read.
        exit_code: What the program should end with, if a signal stopped it; else 0.
    """

    out: str
    pieces: int
    done_before: int
    done: int
    images: int
    unreadable: int
    exit_code: int = 0

    def __str__(self) -> str:
        there = f", {self.done_before} were there already" if self.done_before else ""
        return f"{self.images} images; pieces: {self.done} of {self.pieces}{there}, in {self.out}/"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "out": self.out,
            "pieces": self.pieces,
            "done_before": self.done_before,
            "done": self.done,
            "images": self.images,
            "unreadable": self.unreadable,
            "interrupted": bool(self.exit_code),
        }

    def raise_for_failures(self) -> None:
        """Raise if not everything was looked at.

        Raises:
            InterruptedRun: If a signal stopped it.
            DataError: If an image could not be read.
        """
        if self.exit_code:
            left = self.pieces - self.done_before - self.done
            raise InterruptedRun(f"stopped; pieces left: {left}, the same line goes on", self.exit_code)
        if self.unreadable:
            raise DataError(
                f"{self.unreadable} of {self.images} images could not be read; their rows say why (error)"
            )


def run_job(
    contents: Iterable[PieceContent],
    results: JobResults,
    options: DetectOptions,
    engine: Engine | None = None,
) -> JobSummary:
    """Detect in a job's images, into a file for each piece; one that was stopped goes on.

    Law: neither the engine, nor its number of workers, nor how often they or the job were stopped changes a
    row; each image has one row.

    Args:
        contents: From `find_content`; the same each time.
        results: Where the files go; `parquet_results`.
        options: How.
        engine: What does the pieces; a loop in this process by default.

    Raises:
        UsageError: If the folder holds another job.
        UserError: If the detector cannot be loaded, or what a worker raised.
    """
    options, digest = _settled(options)
    pieces = list(numbered_pieces(contents))
    with engine or LoopEngine() as crew:
        left = results.begin(pieces, options.to_json() | {"checkpoint": digest})
        before = len(pieces) - len(left)
        if before:
            say(f"{before} of {len(pieces)} pieces are there already")
        done = images = unreadable = 0
        with StopRequest() as stop, progress("detect", "pieces") as show:
            show.begin(before, len(pieces))
            make = partial(DetectingWorker, options, results)
            for report in crew.run(left, make) if left else ():
                done, images = done + 1, images + report.images
                unreadable += report.unreadable
                show(before + done, len(pieces))
                if stop.exit_code:
                    break
    left_over = len(left) - done
    return JobSummary(
        results.place.name, len(pieces), before, done, images, unreadable, stop.exit_code if left_over else 0
    )


def _settled(options: DetectOptions) -> tuple[DetectOptions, str]:
    """Return the options with a checkpoint that workers elsewhere find too, and its SHA-256.

    Raises:
        UserError: If the detector cannot be loaded: it is said here, once.
    """
    model = replace(options, device="cpu").load()
    say(f"checkpoint: {model.source} (step {model.step})")
    with model.source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    own = not options.weights or os.path.exists(options.weights)
    return replace(options, weights=str(model.source.resolve())) if own else options, digest
