"""`dprd train`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._options import (
    Backbone,
    BackboneWeights,
    Data,
    Device,
    Gpus,
    Json,
    OnBadImage,
    Overrides,
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
            metavar="NAME|RUN|FILE",
            autocompletion=_complete.weights,
            help="Detector to start from: published (`dprd weights list`), a run, a checkpoint, or demo.",
        ),
    ] = None,
    backbone_weights: BackboneWeights = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME",
            autocompletion=_complete.schedules,
            help="1x or 3x (COCO), voc, photos, or small (the built-in data).",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file with any of the config's keys.")
    ] = None,
    overrides: Overrides = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Images per step, over all processes.")
    ] = None,
    on_bad_image: OnBadImage = None,
    device: Device = None,
    gpus: Gpus = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Run folder; runs/<preset>-<backbone>-<data>-<n> by default."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run where it stopped.")] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr", help="Do not train: find a learning rate in 100 (or --steps) steps, with a plot."
        ),
    ] = False,
    probe_batch: Annotated[
        bool, typer.Option("--probe-batch", help="Do not train: print the largest batch that memory holds.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a detector; everything goes into one run folder."""
    from dprd_cli.errors import UsageError
    from dprd_cli.runtime.ranks import world_size

    if resume + find_lr + probe_batch > 1:
        raise UsageError("--resume, --find-lr, --probe-batch: choose one")
    if (find_lr or probe_batch) and (gpus > 1 or world_size() > 1):
        raise UsageError("--find-lr, --probe-batch: in one process; train.accumulate gives it the same steps")
    if in_processes(context, gpus, device):
        return
    notes: list[str] = []
    flags = {
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.device": device,
        "data.on_bad_image": on_bad_image,
    }
    if resume:
        fixed = {
            "--data": data,
            "--preset": preset,
            "--backbone": backbone,
            "--weights": weights,
            "--backbone-weights": backbone_weights,
            "--schedule": schedule,
            "--config": config,
        }
        given = [name for name, value in fixed.items() if value is not None]
        if given:
            raise UsageError(
                f"{', '.join(given)}: a run is resumed with its own; start a new run to change it"
            )
        folder: Path | None = _run_to_resume(run or out)
        assert folder is not None
        resolved = _saved_config(folder, flags, overrides or [], notes)
    else:
        from dprd_cli.config.presets import resolve

        if run is not None:
            raise UsageError(f"unexpected argument '{run}'; to continue a run: dprd train --resume {run}")
        if weights == "imagenet":
            weights, backbone_weights = None, backbone_weights or "imagenet"
        flags |= {
            "data.path": data,
            "model.backbone.name": check_backbone(backbone),
            "model.backbone.weights": backbone_weights or ("none" if weights else None),
            "train.weights": weights,
        }
        settings: dict[str, Any] = {
            "schedule": schedule,
            "config_file": existing(config),
            "flags": flags,
            "overrides": overrides or [],
        }
        asked = preset or _preset_of(config, overrides or [])
        preset, base = _implied(resolve(preset=preset, **settings), asked)
        resolved = resolve(preset=preset, base=base, notes=notes, **settings)
        if data is None and resolved.data.path == "synthetic":
            say("no --data given: training on the built-in data (drawn on the fly; see `dprd data synth`)")
        if probe_batch:
            _probe_batch(resolved, json)
            return
        folder = None
    for note in notes:
        say(note)
    if find_lr:
        _find_lr(resolved, _new_folder(resolved, out, "lr-"), steps, json)
    else:
        _train(resolved, folder, out, json)


def _preset_of(config: Path | None, overrides: list[str]) -> str | None:
    """Return the preset that `--set` or a config file asks for."""
    from dprd_cli.config.tree import parse_overrides, read_toml

    named = parse_overrides(overrides).get("preset") or (config and read_toml(config).get("preset"))
    return str(named) if named else None


def _implied(config: Config, preset: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the preset and the configuration that the weights to start from ask for.

    Args:
        config: With the weights, wherever they were given.
        preset: The preset that was asked for, or None.
    """
    weights, backbone_weights = config.train.weights, config.model.backbone.weights
    if not weights and backbone_weights in ("none", "imagenet"):
        return preset, {}  # without importing torch
    from dprd_cli.config.tree import merge
    from dprd_cli.weights.load import implied_by_backbone, implied_config

    base: dict[str, Any] = merge({}, implied_by_backbone(backbone_weights))
    if weights:
        preset, more = implied_config(weights, preset)
        merge(base, more)
    return preset, base


def _train(config: Config, run: Path | None, out: Path | None, json: bool) -> None:
    """Continue a run, or start one into `out`, in as many processes as there are."""
    from dprd_cli.commands._tables import print_results
    from dprd_cli.runtime.distributed import joined
    from dprd_cli.training.loop import train as run_training

    with joined(config.train.device) as world:
        folder = run or world.from_main(lambda: _new_folder(config, out, ""))
        say(f"{config.preset} on {config.model.backbone.name}, {config.train.steps} steps, into {folder}")
        if world.size > 1:
            say(f"{world.size} processes share the {config.train.batch_size} images of a step")
        with _removed_if_empty(folder) if world.is_main else contextlib.nullcontext():
            results = run_training(config, folder, resume=run is not None, world=world)
    if not world.is_main:
        return
    if json:
        print_json({"run": str(folder), "best": str(folder / "best.pt"), **results})
    else:
        print_results(results)
    say(f"run folder: {folder} (best.pt, last.pt, results.json, metrics.csv, curves and part overlays)")
    say("next:")
    say(f"  dprd eval --weights {folder}")
    say(f"  dprd predict --weights {folder} --save-parts IMAGES")
    say(f"  dprd visualize-parts --weights {folder} IMAGES")


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a run folder into which nothing was written: the data or the weights could not be used."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def _find_lr(config: Config, folder: Path, steps: int | None, json: bool) -> None:
    from dataclasses import asdict

    from dprd_cli.training.lr_finder import STEPS
    from dprd_cli.training.lr_finder import find_lr as run_test

    with _removed_if_empty(folder):
        found = run_test(config, folder, steps or STEPS)
    say(f"{found.stopped}; the curve: {folder / 'lr_finder.png'}")
    if json:
        print_json({"folder": str(folder), "configured": config.train.lr, **asdict(found)})
    if found.suggestion is None:
        say("no suggestion: the loss did not fall; try more --steps, or another --weights to start from")
        return
    if not json:
        typer.echo(f"suggested learning rate: {found.suggestion:.2g}")
    say(
        f"a tenth of {found.lowest:.2g}, where the loss was lowest, for {found.optimizer} and "
        f"{found.batch_size} images a step; the configured one is {config.train.lr:.2g}"
    )
    say(f"next: train with --batch-size {found.batch_size} --set train.lr={found.suggestion:.2g}")


def _probe_batch(config: Config, json: bool) -> None:
    from dprd_cli.errors import ResourceError
    from dprd_cli.training.batch_probe import probe_batch

    found = probe_batch(config)
    if not found.batch_size:
        from dprd_cli.training.memory import advice

        raise ResourceError(f"not even one image fits ({found.reason}); {advice(config)}")
    if json:
        print_json(found._asdict())
    else:
        typer.echo(f"largest batch: {found.batch_size}")
    say(found.reason)
    wanted = config.train.batch_size
    if wanted > found.batch_size:
        passes = -(-wanted // found.batch_size)
        say(f"for {wanted} images a step: --set train.accumulate={passes}")


def _new_folder(config: Config, out: Path | None, prefix: str) -> Path:
    from dprd_cli.training.run_folder import new_run_folder

    return new_run_folder(config, out, prefix=prefix)


def _run_to_resume(folder: Path | None) -> Path:
    from dprd_cli.errors import UserError
    from dprd_cli.weights.load import newest_run

    if folder is None:
        folder = newest_run()
        if folder is None:
            raise UserError("no run to resume in runs/; start one with `dprd train`")
        say(f"resuming the newest run: {folder}")
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"no such run: {folder}")
    return folder


def _saved_config(
    folder: Path, flags: dict[str, int | str | None], overrides: list[str], notes: list[str]
) -> Config:
    """Return the config of a run, with what was given now on top; lines for the user go to `notes`."""
    from dprd_cli.config.presets import scale_rate
    from dprd_cli.config.tree import merge, nest, parse_overrides, read_toml, validate
    from dprd_cli.errors import UserError

    path = folder / "config.toml"
    if not path.is_file():
        raise UserError(f"no run to resume in {folder}: it has no config.toml")
    tree = read_toml(path)
    before = validate(tree, str(path)).train
    for key, value in flags.items():
        if value is not None:
            merge(tree, nest(key, value))
    given = parse_overrides(overrides)
    config = validate(merge(tree, given), str(path))
    return config if "lr" in given.get("train", {}) else scale_rate(config, before.batch_size, notes)
