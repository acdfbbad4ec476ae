"""`dprd predict`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import DETECTIONS, DETECTOR, DRAWING, INPUT, MACHINE, OUTPUT
from dprd_cli.commands._options import (
    COLORED_BY,
    PART_OFFSETS,
    PART_STYLES,
    DataOverrides,
    Device,
    Gpus,
    Json,
    Lists,
    NullNames,
    Overlap,
    Overwrite,
    PartOffsets,
    PartStyle,
    Plugins,
    Precision,
    Recursive,
    Tile,
    Tta,
    Weights,
    in_processes,
    print_json,
    say,
)


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
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where the results go; by default predictions, or if it holds something, predictions-2, "
            "...; with --ray a URL such as s3://BUCKET/NAME too.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    save: Annotated[
        str,
        typer.Option(
            "--save",
            metavar="KINDS",
            help="What to write, with commas: images, video, frames, coco, csv, labelme, dataset (COCO's "
            "annotations with the images), yolo, masks and crops; or none.",
            rich_help_panel=OUTPUT,
        ),
    ] = "images,video,coco,csv",
    score_thresh: Annotated[
        float | None,
        typer.Option(
            "--score-thresh",
            metavar="SCORE",
            min=0,
            max=1,
            help="Draw detections from this score; the detector's own by default, else 0.5. results.json and "
            "results.csv keep those below too.",
            rich_help_panel=DETECTIONS,
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--classes",
            metavar="NAMES",
            help="Only these classes, by name or by category id, with commas; repeat.",
            rich_help_panel=DETECTIONS,
        ),
    ] = None,
    max_detections: Annotated[
        int | None,
        typer.Option(
            "--max-detections",
            metavar="N",
            min=1,
            help="Only the best so many of an image; the detector's own number by default, mostly 100.",
            rich_help_panel=DETECTIONS,
        ),
    ] = None,
    nms_iou: Annotated[
        float | None,
        typer.Option(
            "--nms-iou",
            metavar="IOU",
            min=0,
            max=1,
            help="Of two boxes of a class that overlap more than this, the better one stays; the detector's "
            "own by default, mostly 0.5.",
            rich_help_panel=DETECTIONS,
        ),
    ] = None,
    class_agnostic_nms: Annotated[
        bool,
        typer.Option(
            "--class-agnostic-nms",
            help="Let boxes of different classes suppress each other too.",
            rich_help_panel=DETECTIONS,
        ),
    ] = False,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="PIXELS",
            min=32,
            help="Short side that images are resized to; the detector's own by default.",
            rich_help_panel=DETECTOR,
        ),
    ] = None,
    save_parts: Annotated[
        bool,
        typer.Option(
            "--save-parts",
            help="Draw part boxes, and add them, and which of them decided, to the results.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    style: PartStyle = "tones",
    color_by: Annotated[
        str,
        typer.Option(
            "--color-by",
            metavar="KIND",
            autocompletion=_complete.among(*COLORED_BY),
            help="class or instance: what has a colour of its own; instances by default where there is one "
            "class.",
            rich_help_panel=DRAWING,
        ),
    ] = "",
    no_masks: Annotated[
        bool, typer.Option("--no-masks", help="Leave masks out.", rich_help_panel=DETECTIONS)
    ] = False,
    part_offsets: PartOffsets = "learned",
    tta: Tta = False,
    tile: Tile = None,
    overlap: Overlap = 0.2,
    recursive: Recursive = False,
    lists: Lists = None,
    null: NullNames = False,
    frame_step: Annotated[
        int,
        typer.Option(
            "--frame-step",
            metavar="N",
            min=1,
            help="Take every so many frames of a video.",
            rich_help_panel=INPUT,
        ),
    ] = 1,
    max_frames: Annotated[
        int,
        typer.Option(
            "--max-frames",
            metavar="N",
            min=0,
            help="Stop after so many frames of each video; all by default.",
            rich_help_panel=INPUT,
        ),
    ] = 0,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            metavar="N",
            min=1,
            help="Images at a time; one with --tta.",
            rich_help_panel=MACHINE,
        ),
    ] = 1,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            max=64,
            help="Threads that read ahead of the network; if any, one more draws and writes behind it.",
            rich_help_panel=MACHINE,
        ),
    ] = 2,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only the I-th of N shares, from 1/N to N/N, each into its own --out.",
            rich_help_panel=INPUT,
        ),
    ] = "1/1",
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            help="Work on a Ray cluster, and write Parquet files: auto, HOST:PORT, ray://HOST:PORT, or this "
            "machine's cores and GPUs. The same line goes on with what was stopped.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    parquet: Annotated[
        list[str] | None,
        typer.Option(
            "--parquet",
            metavar="DIR",
            help="With --ray: Parquet files with names of images (file, path, url) or their bytes; repeat.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    actors: Annotated[
        int,
        typer.Option(
            "--actors",
            metavar="N",
            min=0,
            help="With --ray: workers, each with a detector; by default one for each GPU, else each core.",
            rich_help_panel=MACHINE,
        ),
    ] = 0,
    piece_size: Annotated[
        int,
        typer.Option(
            "--piece-size",
            metavar="N",
            min=1,
            help="With --ray: images of a Parquet file, which are done whole or not at all.",
            rich_help_panel=MACHINE,
        ),
    ] = 256,
    device: Device = None,
    precision: Precision = None,
    gpus: Gpus = 1,
    overrides: DataOverrides = None,
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Detect objects in images and videos: annotated images, COCO results, a CSV and more."""
    from dprd_cli.commands._predict_on_ray import predict_on_ray
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import UsageError
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.inference.entry import DisplayStyle
    from dprd_cli.inference.predict import PredictOptions
    from dprd_cli.inference.predict import predict as predict_sources
    from dprd_cli.inference.predictor import ReadOptions
    from dprd_cli.inference.sources import find_sources
    from dprd_cli.inference.tiling import Tiling
    from dprd_cli.weights.load import model_in_group

    if predict_on_ray(context, ray, parquet or [], actors, piece_size):
        return
    place = None if out is None else Path(out)
    options = PredictOptions(
        output=OutputChoice(place, overwrite),
        kinds=_kinds(save),
        style=DisplayStyle(
            score_thresh,
            not no_masks,
            save_parts,
            pick("style", style, PART_STYLES),
            pick("--color-by", color_by, COLORED_BY) if color_by else "",
        ),
        read=ReadOptions(batch_size, workers, frame_step, max_frames),
        part_offsets=pick("kind of part offsets", part_offsets, PART_OFFSETS),
        tta=tta,
        tiling=None if tile is None else Tiling(tile, overlap),
        share=_share(shard),
        records=json,
    )
    if not inputs and not lists:
        raise UsageError("nothing to look at; pass images, folders, videos or a --list FILE")
    if gpus > 1 and "-" in [*(inputs or []), *(lists or [])]:
        raise UsageError(
            "--gpus: standard input has one reader; write the names into a file, and pass --list FILE"
        )
    if in_processes(context, gpus, device):
        return
    load_plugins(plugins or [])
    sources = find_sources(inputs or [], lists=lists or [], null=null, recursive=recursive, leave_out=place)
    with model_in_group(weights, device or "auto", precision or "auto") as (model, group):
        model = model.with_choice(
            classes=classes or (),
            max_detections=max_detections,
            nms_iou=nms_iou,
            class_agnostic_nms=class_agnostic_nms,
            image_size=image_size,
        )
        summary = predict_sources(model.with_data(overrides=overrides or []), sources, options, group)
    if not group.is_main:
        raise typer.Exit(summary.exit_code)
    if json:
        print_json(summary.to_json())
    say(f"results: {summary}")
    summary.raise_for_failures()


def _share(text: str) -> tuple[int, int]:
    """Return (index from 0, number of shares) of `--shard I/N`.

    Raises:
        UsageError: If it is not of that form.
    """
    from dprd_cli.errors import UsageError

    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 3/8")
    return int(match[1]) - 1, int(match[2])


def _kinds(text: str) -> list[str]:
    """Return the kinds of output that `--save` names.

    Raises:
        UsageError: At a name that is none, with a suggestion.
    """
    from dprd_cli.config.presets import pick
    from dprd_cli.inference.outputs import KINDS

    names = [name.strip() for name in text.split(",") if name.strip()]
    return [] if names in ([], ["none"]) else [pick("--save kind", name, KINDS) for name in names]
