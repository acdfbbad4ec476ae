"""`dprd predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._options import (
    PART_OFFSETS,
    DataOverrides,
    Device,
    Gpus,
    Json,
    PartOffsets,
    Tta,
    Weights,
    in_processes,
    print_json,
    say,
    with_data,
    with_part_offsets,
)

_DEFAULT_KINDS = "images,video,coco,csv"


def predict(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUTS...",
            help="Images, folders, globs, videos, http(s) URLs, webcam:0; @FILE lists names, - takes them "
            "from stdin.",
        ),
    ] = None,
    weights: Weights = "",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")] = Path(
        "predictions"
    ),
    save: Annotated[
        str,
        typer.Option(
            "--save",
            metavar="KINDS",
            help="What to write, with commas: images, video, frames, coco, csv, labelme, masks and crops; or "
            "none.",
        ),
    ] = _DEFAULT_KINDS,
    score_thresh: Annotated[
        float,
        typer.Option(
            "--score-thresh",
            min=0,
            max=1,
            help="Draw detections from this score; results.json and results.csv keep those below too.",
        ),
    ] = 0.5,
    save_parts: Annotated[
        bool, typer.Option("--save-parts", help="Draw part boxes in orange, and add them to the results.")
    ] = False,
    no_masks: Annotated[bool, typer.Option("--no-masks", help="Leave masks out.")] = False,
    part_offsets: PartOffsets = "learned",
    tta: Tta = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Folders give the images of the folders inside too.")
    ] = False,
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", metavar="FILE", help="File with a name a line, - for stdin; repeat."),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names in lists end in NUL (`find -print0`).")
    ] = False,
    frame_step: Annotated[
        int, typer.Option("--frame-step", min=1, help="Take every so many frames of a video.")
    ] = 1,
    max_frames: Annotated[
        int, typer.Option("--max-frames", min=0, help="Stop after so many frames of each video; 0: all.")
    ] = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Images at a time; one with --tta.")
    ] = 1,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=64, help="Threads that read ahead of the network.")
    ] = 2,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only the I-th of N shares, from 1/N to N/N, each into its own --out.",
        ),
    ] = "1/1",
    device: Device = None,
    gpus: Gpus = 1,
    overrides: DataOverrides = None,
    json: Json = False,
) -> None:
    """Detect objects in images and videos: annotated images, COCO results, a CSV and more."""
    from contextlib import closing
    from dataclasses import replace

    from dprd_cli.config.presets import pick
    from dprd_cli.errors import DataError, InterruptedRun, UsageError
    from dprd_cli.files.results import output_folder
    from dprd_cli.inference.outputs import FOLDERS, Style
    from dprd_cli.inference.predictor import Predictor, Reading, Unreadable
    from dprd_cli.inference.sharding import merged, own_batches
    from dprd_cli.inference.sources import find_sources
    from dprd_cli.inference.writer import Writer
    from dprd_cli.runtime.process_group import join_process_group
    from dprd_cli.runtime.signals import StopRequest
    from dprd_cli.weights.load import load_model

    pick("kind of part offsets", part_offsets, PART_OFFSETS)
    kinds, share = _kinds(save), _share(shard)
    if not inputs and not lists:
        raise UsageError("nothing to look at; pass images, folders, videos or a --list FILE")
    if gpus > 1 and "-" in [*(inputs or []), *(lists or [])]:
        raise UsageError(
            "--gpus: standard input has one reader; write the names into a file, and pass --list FILE"
        )
    if in_processes(context, gpus, device):
        return
    sources = find_sources(inputs or [], lists=lists or [], null=null, recursive=recursive, leave_out=out)
    moving = any(source.is_moving for source in sources)
    chosen = own_batches(range(len(sources)), batch_size, *share)
    errors: list[Unreadable] = []
    with join_process_group(device or "auto") as group:
        if moving and group.size > 1:
            raise UsageError("videos and webcams: in one process; start one command for each")
        model = group.main_first(lambda: load_model(weights, device or "auto"))
        say(f"checkpoint: {model.source} (step {model.step})")
        model = with_part_offsets(model, part_offsets)
        model = replace(model, config=with_data(model.config, overrides))
        if save_parts and not model.detector.has_parts:
            say("this model has no parts; --save-parts does nothing")
        if "masks" in kinds and (no_masks or not model.with_masks):
            say("no masks here; --save masks does nothing")
        if kinds:
            output_folder(out, [source.path for source in sources if source.is_file], FOLDERS)
        predictor = Predictor(model, tta=tta, masks=not no_masks)
        reading = Reading(batch_size, workers, frame_step, max_frames)
        style = Style(score_thresh, not no_masks, save_parts)
        writer = Writer(sources, out, kinds, style, keep=json, main=group.is_main)
        own = own_batches(chosen, batch_size, group.rank, group.size)
        with (
            StopRequest() as stop,
            writer,
            closing(predictor.predict_sources(sources, reading, own)) as found,
        ):
            made = (
                (number, item if isinstance(item, Unreadable) else writer.make(number, item))
                for number, item in found
            )
            for _, item in merged(made, chosen, batch_size, group, lambda: stop.exit_code > 0):
                if isinstance(item, Unreadable):
                    say(f"skipped: {item.message}")
                    errors.append(item)
                    continue
                writer.write(item)
                if not json:
                    say(item.line)
        stopped = group.all_reduce_max(stop.exit_code)
    if not group.is_main:
        raise typer.Exit(stopped)
    if json:
        print_json(
            {
                "checkpoint": str(model.source),
                "out": str(out) if kinds else None,
                "results": writer.files,
                "score_thresh": score_thresh,
                "part_offsets": part_offsets,
                "tta": tta,
                "shard": shard,
                "images": writer.rows,
                "errors": [{"file": item.name, "message": item.message} for item in errors],
                "interrupted": bool(stopped),
            }
        )
    say(f"results: {', '.join(writer.summary) or 'nothing saved'}" + (f" in {out}/" if kinds else ""))
    if stopped:
        done = f"{writer.done} image{'' if writer.done == 1 else 's'}"
        raise InterruptedRun(f"stopped; what was done is whole ({done})", stopped)
    if errors:
        what = "inputs" if moving else "images"
        rest = f"; the others are in {out}/" if kinds else ""
        raise DataError(f"{len(errors)} of {len(chosen)} {what} could not be read{rest}")


def _share(text: str) -> tuple[int, int]:
    """Return (index from 0, number of shares) of `--shard I/N`.

    Raises:
        UsageError: If it is not of that form.
    """
    from dprd_cli.errors import UsageError

    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 3/8")
    return int(index) - 1, int(count)


def _kinds(text: str) -> list[str]:
    """Return the kinds of output that `--save` names.

    Raises:
        UsageError: At a name that is none, with a suggestion.
    """
    from dprd_cli.config.presets import pick
    from dprd_cli.inference.outputs import KINDS

    names = [name.strip() for name in text.split(",") if name.strip()]
    return [] if names in ([], ["none"]) else [pick("--save kind", name, KINDS) for name in names]
