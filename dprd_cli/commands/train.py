"""`dprd train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import DETECTOR, MACHINE, OUTPUT, TRAINING
from dprd_cli.commands._next import folder_of_images, given_again, say_next
from dprd_cli.commands._options import (
    Backbone,
    BackboneWeights,
    ConfigFile,
    Data,
    Device,
    Gpus,
    Json,
    OnBadImage,
    Overrides,
    Plugins,
    Precision,
    Preset,
    check_backbone,
    existing,
    in_processes,
    print_json,
    say,
)

if TYPE_CHECKING:
    from dprd_cli.config.schema import Config


def train(
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="With --resume: the run folder; the newest by default."),
    ] = None,
    data: Data = None,
    preset: Preset = None,
    backbone: Backbone = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="RUN|FILE|NAME",
            autocompletion=_complete.weights,
            help="Detector to start from: published (`dprd weights list`), a run, a checkpoint, voc or demo.",
            rich_help_panel=DETECTOR,
        ),
    ] = None,
    backbone_weights: BackboneWeights = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME",
            autocompletion=_complete.schedules,
            help="auto (fitted to your data and machine; default there), 1x or 3x (COCO), voc, photos, or "
            "small (the built-in data).",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Optimiser steps.", rich_help_panel=TRAINING),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            "--epochs",
            metavar="N",
            min=0,
            help="Passes through the images, in place of --steps.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            min=1,
            help="Images per step, over all processes.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", metavar="RATE", min=0, help="Learning rate.", rich_help_panel=TRAINING),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="PIXELS",
            min=32,
            help="Short side at test, pixels; training's sizes follow.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="Seed of the run.", rich_help_panel=TRAINING),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=0, help="Processes that load images.", rich_help_panel=MACHINE
        ),
    ] = None,
    on_bad_image: OnBadImage = None,
    device: Device = None,
    precision: Precision = None,
    gpus: Gpus = 1,
    max_restarts: Annotated[
        int,
        typer.Option(
            "--max-restarts",
            metavar="N",
            min=0,
            help="Start again, from the last checkpoint, up to so many times where a process is killed or "
            "fails; needs --out or --resume.",
            rich_help_panel=MACHINE,
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Run folder; runs/<preset>-<backbone>-<data>-<n> by default.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run where it stopped.", rich_help_panel=TRAINING)
    ] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Do not train: find a learning rate in 100 (or --steps) steps, with a plot.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    probe_batch: Annotated[
        bool,
        typer.Option(
            "--probe-batch",
            help="Do not train: print the largest batch that memory holds.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Train a detector; everything goes into one run folder."""
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.errors import UsageError
    from dprd_cli.runtime.ranks import world_size
    from dprd_cli.training.start import TrainOptions, begun_run, find_run, new_config, resumed_config

    if resume + find_lr + probe_batch > 1:
        raise UsageError("--resume, --find-lr, --probe-batch: choose one")
    if (find_lr or probe_batch) and (gpus > 1 or max_restarts or world_size() > 1):
        raise UsageError("--find-lr, --probe-batch: in one process; train.accumulate gives it the same steps")
    if run is not None and not resume:
        raise UsageError(f"unexpected argument '{run}'; to continue a run: dprd train --resume {run}")
    if max_restarts and not (out or run):
        raise UsageError("--max-restarts: name the run folder (--out, or --resume RUN), which then goes on")
    if in_processes(context, gpus, device, max_restarts=max_restarts):
        return
    names = load_plugins(plugins or [])
    options = TrainOptions(
        data=data,
        preset=preset,
        backbone=check_backbone(backbone),
        weights=weights,
        backbone_weights=backbone_weights,
        schedule=schedule,
        config_file=existing(config),
        overrides=overrides or [],
        plugins=names,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        image_size=image_size,
        seed=seed,
        workers=workers,
        device=device,
        precision=precision,
        on_bad_image=on_bad_image,
    )
    folder = find_run(run or out, options) if resume else None
    if folder is None and (begun := begun_run(out)):
        folder, options = begun, TrainOptions(plugins=names)
    settled = new_config(options) if folder is None else resumed_config(folder, options)
    if probe_batch:
        _probe_batch(settled, as_json=json)
    elif find_lr:
        _find_lr(settled, out, steps, context, as_json=json)
    else:
        _train(settled, folder, out, as_json=json)


def _train(config: Config, run: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Continue a run, or start one into `out`, in as many processes as there are."""
    from dprd_cli.commands._tables import print_results
    from dprd_cli.training.start import run_training

    result = run_training(config, run, out)
    if result is None:
        return
    folder = result.folder
    if as_json:
        print_json({"run": str(folder), "best": result.best and str(result.best), **result.to_json()})
    else:
        print_results(result.to_json())
    best = "best.pt, " if result.best else ""
    say(f"run folder: {folder} ({best}last.pt, results.json, metrics.csv, curves and part overlays)")
    say_next(*_next_steps(config, folder))


def _next_steps(config: Config, folder: Path) -> list[list[str]]:
    """Return the commands that follow a training into `folder`."""
    weights = ["--weights", str(folder)]
    steps = [["eval", *weights], ["report", str(folder)]]
    images = folder / "data" / "images"
    if config.data.built_in:
        count = ["--train", "1", "--val", "12", "--kind", config.data.path]
        steps.append(["data", "synth", str(images.parent), *count])
    else:
        images = folder_of_images(Path(config.data.path)) or Path(config.data.path)
    with_parts = config.model.parts.mode not in ("none", "pooling")
    steps.append(["predict", str(images), *weights, *(["--save-parts"] if with_parts else [])])
    return [*steps, *([["visualize-parts", str(images), *weights]] if with_parts else [])]


def _find_lr(
    config: Config, out: Path | None, steps: int | None, context: typer.Context, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from dprd_cli.training.lr_finder import STEPS, find_lr
    from dprd_cli.training.start import new_folder

    with new_folder(config, out, "lr-") as folder:
        found = find_lr(config, folder, steps or STEPS)
    say(f"{found.stopped}; the curve: {folder / 'lr_finder.png'}")
    if as_json:
        print_json({"folder": str(folder), "configured": config.train.lr, **asdict(found)})
    if found.suggestion is None:
        say("no suggestion: the loss did not fall; try more --steps, or another --weights to start from")
        return
    if not as_json:
        typer.echo(f"suggested learning rate: {found.suggestion:.2g}")
    say(
        f"a tenth of {found.lowest:.2g}, where the loss was lowest, for {found.optimizer} and "
        f"{found.batch_size} images a step; the configured one is {config.train.lr:.2g}"
    )
    again = given_again(context, without=("find_lr", "out", "steps", "json", "batch_size", "lr"))
    more = ["--batch-size", str(found.batch_size), "--lr", f"{found.suggestion:.2g}"]
    say_next(["train", *again, *more])


def _probe_batch(config: Config, *, as_json: bool) -> None:
    from dprd_cli.training.batch_probe import probe_batch

    found = probe_batch(config)
    if as_json:
        print_json(found._asdict())
    else:
        typer.echo(f"largest batch: {found.batch_size}")
    say(found.reason)
    wanted = config.train.batch_size
    if wanted > found.batch_size:
        passes = -(-wanted // found.batch_size)
        say(f"for {wanted} images a step: --set train.accumulate={passes}")
