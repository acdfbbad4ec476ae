"""`dprd predict --ray`: the options of the command, as a job."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dprd_cli.commands._options import PART_OFFSETS, print_json, say

if TYPE_CHECKING:
    from dprd_cli.distributed.detect import DetectOptions

#: Options that are nothing without `--ray`, and those that are nothing with it, by the names of parameters.
_OF_JOBS = ("parquet", "actors", "piece_size")
_NOT_OF_JOBS = (
    *("save", "overwrite", "style", "color_by", "gpus", "recursive"),
    *("frame_step", "max_frames", "shard"),
)


def predict_on_ray(
    context: typer.Context, address: str | None, tables: list[str], actors: int, piece_size: int
) -> bool:
    """Run the job that the command line asks for; whether it asks for one.

    Args:
        context: The command's, with all other options.
        address: `--ray`; None where it is not given.
        tables: `--parquet`.
        actors: `--actors`.
        piece_size: `--piece-size`.

    Raises:
        UsageError: At options that do not go together, or where there is nothing to look at.
        DataError: If images could not be read.
    """
    values = context.params
    if address is None:
        _refuse(context, _OF_JOBS, "only with --ray")
        return False
    _refuse(context, _NOT_OF_JOBS, "not with --ray, which writes Parquet files (docs/scale.md)")
    from dprd_cli.distributed.engines import RayEngine
    from dprd_cli.distributed.job import run_job
    from dprd_cli.distributed.pieces import find_content
    from dprd_cli.distributed.results import parquet_results
    from dprd_cli.errors import UsageError

    inputs, lists = (values[name] or [] for name in ("inputs", "lists"))
    if not inputs and not lists and not tables:
        raise UsageError("nothing to look at; pass --list FILE, --parquet DIR, folders or s3:// prefixes")
    if values["out"] is None:
        raise UsageError(
            "--ray: name the folder of the results by --out, so that the job can be gone on with"
        )
    engine = RayEngine(address, actors, values["device"] or "auto")
    results = parquet_results(values["out"])
    contents = find_content(inputs, lists, tables, piece_size, null=values["null"])
    with _stdout_on_stderr():
        summary = run_job(contents, results, _detect_options(values), engine)
    if values["json"]:
        print_json(summary.to_json())
    say(f"results: {summary}")
    summary.raise_for_failures()
    return True


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """While entered, let what Ray prints go to stderr, whatever prints it: stdout is for the document."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    from dprd_cli.errors import UsageError

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{parameter.opts[0]}: {why}")


def _detect_options(values: Mapping[str, Any]) -> DetectOptions:
    from dprd_cli.config.presets import pick
    from dprd_cli.distributed.detect import DetectOptions
    from dprd_cli.inference.tiling import Tiling

    plugins = [
        str(Path(name).resolve()) if name.endswith(".py") else name for name in values["plugins"] or ()
    ]
    return DetectOptions(
        weights=values["weights"],
        device=values["device"] or "auto",
        precision=values["precision"] or "auto",
        choice={
            "classes": values["classes"] or (),
            "max_detections": values["max_detections"],
            "nms_iou": values["nms_iou"],
            "class_agnostic_nms": values["class_agnostic_nms"],
            "image_size": values["image_size"],
        },
        overrides=values["overrides"] or (),
        plugins=plugins,
        part_offsets=pick("kind of part offsets", values["part_offsets"], PART_OFFSETS),
        min_score=values["score_thresh"] or 0.0,
        masks=not values["no_masks"],
        parts=values["save_parts"],
        tta=values["tta"],
        tiling=None if values["tile"] is None else Tiling(values["tile"], values["overlap"]),
        batch_size=values["batch_size"],
        readers=values["workers"],
    )
