"""From what a user asks for to a run: settles the configuration, chooses the folder, trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dprd_cli.config.backbone_names import TIMM
from dprd_cli.config.plugins import load_own_plugins, load_plugins, named_plugins, with_plugins
from dprd_cli.config.presets import resolve, scale_rate
from dprd_cli.config.schema import BUILT_IN, Config
from dprd_cli.config.tree import flatten, merge, nest, parse_overrides, read_toml, validate
from dprd_cli.errors import UsageError, UserError
from dprd_cli.runtime.progress import Progress, say
from dprd_cli.runtime.ranks import restart_count
from dprd_cli.weights.hub import fetch_hub, is_hub

if TYPE_CHECKING:
    from dprd_cli.training.result import TrainResult

# torch is imported where it is needed: a wrong option is said at once

_MOST_EPOCHS = 1e5


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What a training is asked for; None leaves the choice to the preset, the schedule or the file.

    Args:
        data: Folder with annotations, or `synthetic`.
        preset: Architecture.
        backbone: Its backbone.
        weights: Detector to start from.
        backbone_weights: Weights that the backbone starts from.
        schedule: Named schedule.
        config_file: TOML file with any of the configuration's keys.
        overrides: `KEY=VALUE` pairs; they win.
        plugins: Files and modules that register parts of one's own; they are run.
        steps: Optimiser steps.
        epochs: Passes through the training images, in place of steps.
        batch_size: Images a step.
        lr: Learning rate.
        image_size: Short side at test, pixels; the sizes of training follow.
        seed: Seed of weights, order and augmentation.
        workers: Loader processes.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, `fp32` or `bf16`.
        on_bad_image: `error` or `skip`.
    """

    data: str | None = None
    preset: str | None = None
    backbone: str | None = None
    weights: str | None = None
    backbone_weights: str | None = None
    schedule: str | None = None
    config_file: Path | None = None
    overrides: Sequence[str] = field(default=())
    plugins: Sequence[str] = field(default=())
    steps: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    image_size: int | None = None
    seed: int | None = None
    workers: int | None = None
    device: str | None = None
    precision: str | None = None
    on_bad_image: str | None = None

    @property
    def resumable_flags(self) -> dict[str, Any]:
        """What a run that is resumed may be given anew, by key."""
        return {
            "train.steps": self.steps,
            "train.batch_size": self.batch_size,
            "train.lr": self.lr,
            "data.workers": self.workers,
            "train.device": self.device,
            "train.precision": self.precision,
            "data.on_bad_image": self.on_bad_image,
            "data.path": self.data,  # the same data in another place; training checks that
        }

    @property
    def fixed(self) -> list[str]:
        """The options that were given and that a run keeps from its start."""
        names = ("preset", "backbone", "weights", "backbone_weights", "schedule", "image_size", "seed")
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
        return [*given, *(["--config"] if self.config_file is not None else [])]


def new_config(options: TrainOptions) -> Config:
    """Return the configuration of a new run, and say what was chosen.

    Raises:
        UsageError: On an unknown name or key, or a value that does not fit.
        DataError: If the data cannot be used, where the schedule is fitted to it or epochs are counted.
    """
    _check_epochs(options)
    plugins = load_plugins(options.plugins)
    weights, backbone_weights = options.weights, options.backbone_weights
    if weights == "imagenet":
        weights, backbone_weights = None, backbone_weights or "imagenet"
    flags = options.resumable_flags | {
        "model.backbone.name": options.backbone,
        "model.backbone.weights": backbone_weights or ("none" if weights else None),
        "train.weights": weights,
        "train.seed": options.seed,
        "data.test_min_size": options.image_size,
        "plugins": list(plugins) or None,
    }
    settings: dict[str, Any] = {
        "schedule": options.schedule or _default_schedule(options),
        "config_file": options.config_file,
        "flags": flags,
        "overrides": options.overrides,
    }
    asked = options.preset or _preset_of(options)
    first = resolve(preset=options.preset, **settings)
    if is_hub(first.train.weights):  # the run keeps the commit
        pinned = fetch_hub(first.train.weights).pinned
        settings["overrides"] = [*options.overrides, f"train.weights={pinned}"]
        first = resolve(preset=options.preset, **settings)
    preset, base = _implied(first, asked)
    if first.schedule == "auto":
        preset, base = _fitted(options, first, base, {"preset": preset} | flags)
    elif options.image_size is not None:
        flags |= _scaled_sizes(resolve(**settings | {"flags": flags | {"data.test_min_size": None}}), options)
    notes: list[str] = []
    config = resolve(preset=preset, base=base, notes=notes, **settings)
    if options.data is None and config.data.path == "synthetic":
        say("no --data given: training on the built-in data (drawn on the fly; see `dprd data synth`)")
    for note in notes:
        say(note)
    return config if first.schedule == "auto" else _with_epochs(config, options.epochs)


def _check_epochs(options: TrainOptions) -> None:
    if options.epochs is None:
        return
    if options.steps is not None:
        raise UsageError("--steps, --epochs: choose one")
    if not 0 < options.epochs <= _MOST_EPOCHS:  # not a number is neither
        raise UsageError(f"--epochs {options.epochs:g}: expected a number above 0, at most {_MOST_EPOCHS:g}")


def _default_schedule(options: TrainOptions) -> str | None:
    """Return `auto` on own data, unless a file or `--set` names a schedule; else None."""
    file = read_toml(options.config_file) if options.config_file else {}
    given = parse_overrides(options.overrides)
    named = given.get("schedule") or file.get("schedule")
    path = given.get("data", {}).get("path") or options.data or file.get("data", {}).get("path")
    return "auto" if not named and path not in (None, *BUILT_IN) else None


def _fitted(
    options: TrainOptions, config: Config, base: dict[str, Any], flags: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the preset and the values that fit the data and the machine, below those of the weights.

    Args:
        options: What is asked for.
        config: Where the data is, and the device.
        base: What the weights to start from ask for.
        flags: Dotted key -> value, of options.
    """
    from dprd_cli.training.auto import fit_schedule

    given = flatten(read_toml(options.config_file)) if options.config_file else {}
    given |= {key: value for key, value in flags.items() if value is not None}
    given |= flatten(parse_overrides(options.overrides))
    if given.get("model.backbone.weights") == "auto":
        del given["model.backbone.weights"]
    checked = flatten(config) | {"preset": given.get("preset")}
    given = flatten(base) | {key: checked[key] for key in given if key in checked}
    plan = fit_schedule(config, given, options.epochs)
    tree: dict[str, Any] = {}
    for key, value in plan.values.items():
        merge(tree, nest(key, value) if key != "preset" else {})
    return plan.preset, merge(tree, base)


def _scaled_sizes(config: Config, options: TrainOptions) -> dict[str, Any]:
    """Return the image sizes of a schedule, scaled to `--image-size`."""
    assert options.image_size is not None
    data, ratio = config.data, options.image_size / config.data.test_min_size
    return {
        "data.train_min_sizes": [max(1, round(size * ratio)) for size in data.train_min_sizes],
        "data.max_size": round(data.max_size * ratio),
        "data.lsj_size": round(data.lsj_size * ratio),
    }


def _with_epochs(config: Config, epochs: float | None) -> Config:
    """Return the configuration with the steps of so many epochs."""
    if epochs is None:
        return config
    from dprd_cli.training.auto import steps_of

    steps = steps_of(epochs, config)
    say(f"{epochs:g} epochs are {steps} steps of {config.train.batch_size} images")
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})


def _preset_of(options: TrainOptions) -> str | None:
    """Return the preset that `--set` or a config file asks for."""
    file = options.config_file
    named = parse_overrides(options.overrides).get("preset") or (file and read_toml(file).get("preset"))
    return str(named) if named else None


def _implied(config: Config, preset: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the preset and the configuration that the weights to start from ask for.

    Args:
        config: With the weights, wherever they were given.
        preset: The preset that was asked for, or None.
    """
    weights, backbone = config.train.weights, config.model.backbone
    own_pixels = backbone.name.startswith(TIMM) and backbone.weights != "none"
    if not weights and backbone.weights in ("none", "imagenet") and not own_pixels:
        return preset, {}  # without importing torch
    from dprd_cli.weights.start import implied_by_backbone, implied_config

    base: dict[str, Any] = merge({}, implied_by_backbone(backbone.name, backbone.weights))
    if weights:
        preset, more = implied_config(weights, preset)
        merge(base, more)
    return preset, base


def find_run(folder: Path | None, options: TrainOptions) -> Path:
    """Return the run folder that is to be resumed: the one given, or the newest.

    Raises:
        UsageError: If an option is given that a run keeps from its start.
        UserError: If there is none.
    """
    from dprd_cli.weights.find import newest_run

    if options.fixed:
        names = ", ".join(options.fixed)
        raise UsageError(f"{names}: a run is resumed with its own; start a new run to change it")
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


def begun_run(out: Path | None) -> Path | None:
    """Return the run that this job's processes began before the launcher started them again, or None.

    Args:
        out: The folder of the run, as the command line names it.
    """
    begun = restart_count() > 0 and out is not None and (out / "config.toml").is_file()
    return out if begun else None


def resumed_config(folder: Path, options: TrainOptions) -> Config:
    """Return the configuration of a run, with what was given now on top, and say what follows from that.

    Raises:
        UsageError: If a value does not fit.
        UserError: If the folder holds no run.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise UserError(
            f"no run to resume in {folder}: it has no config.toml; dprd train --out {folder} starts one there"
        )
    _check_epochs(options)
    tree = read_toml(path)
    given_plugins = load_plugins(options.plugins)
    load_own_plugins(named_plugins(tree))
    before = validate(tree, str(path)).train
    for key, value in options.resumable_flags.items():
        if value is not None:
            merge(tree, nest(key, value))
    tree["plugins"] = with_plugins(named_plugins(tree), given_plugins)
    given = parse_overrides(options.overrides)
    config = validate(merge(tree, given), str(path))
    if options.lr is None and "lr" not in given.get("train", {}):
        notes: list[str] = []
        config = scale_rate(config, before.batch_size, notes)
        for note in notes:
            say(note)
    return _with_epochs(config, options.epochs)


@contextlib.contextmanager
def new_folder(config: Config, out: Path | None, prefix: str = "") -> Iterator[Path]:
    """Make a run folder, and remove it again if nothing was written into it."""
    from dprd_cli.training.run_folder import new_run_folder

    folder = new_run_folder(config, out, prefix=prefix)
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def run_training(
    settled: Config,
    run: Path | None = None,
    out: Path | None = None,
    on_progress: Progress | None = None,
) -> TrainResult | None:
    """Continue a run, or start one in a folder of its own, in as many processes as there are.

    Args:
        settled: The whole run, from `new_config` or `resumed_config`.
        run: The run to continue, or None.
        out: The folder of a new run; `runs/<preset>-<backbone>-<data>-<n>` by default.
        on_progress: Called with (steps done, steps in all) after each step, in the main process.

    Returns:
        The run with its final evaluation; None on ranks that are not the main one.
    """
    from dprd_cli.runtime.device import pick_device
    from dprd_cli.runtime.process_group import join_process_group
    from dprd_cli.training.loop import train

    with contextlib.ExitStack() as stack:
        group = stack.enter_context(join_process_group(settled.train.device))
        pick_device(settled.train.device)  # a wrong one is refused before there is a folder
        made = stack.enter_context(new_folder(settled, out)) if run is None and group.is_main else run
        # what was chosen for the machine is the main process's, for all, and so is whether a run goes on
        config, folder, goes_on = group.broadcast(lambda: (settled, made, run is not None))
        assert folder is not None
        say(f"{config.preset} on {config.model.backbone.name}, {config.train.steps} steps, into {folder}")
        if group.size > 1:
            say(f"{group.size} processes share the {config.train.batch_size} images of a step")
        return train(config, folder, resume=goes_on, group=group, on_progress=on_progress)
