"""Which detectors are explained, how to get those that are missing, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dprd_cli.errors import UserError
from dprd_cli.runtime.progress import say
from dprd_cli.weights.fetch import fetch_file
from dprd_cli.weights.find import find_preset, newest_run, published_as
from dprd_cli.weights.load import LoadedModel, load_model
from dprd_cli.weights.zoo import ZOO

#: Preset -> what its network is called; a second detector can be named by its preset alone.
ARCHITECTURES = {
    "cascade-dprd": "Cascade D-PRD",
    "cascade-mrcnn": "Cascade Mask R-CNN",
    "dprd": "D-PRD",
    "mask-rcnn": "Mask R-CNN",
}


def load_models(weights: str, compare_with: str, device: str = "auto") -> list[LoadedModel]:
    """Load one detector or two.

    Args:
        weights: As for `load_model`; empty: the newest run that is not of the preset it is compared with.
        compare_with: The second one: as for `load_model`, or a preset: beside a demo the demo of it, else its
            newest run, else its published weights, downloaded where the classes fit; empty for none.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        UserError: If one is missing: how to get it, or both.
    """
    preset = compare_with if compare_with in ARCHITECTURES else ""
    if preset and not weights:
        weights = str(newest_run(but=preset) or _neither(preset))
    models = [load_model(weights, device)]
    if compare_with:
        second = _second(models[0], weights, preset) if preset else compare_with
        models.append(load_model(second, device))
    for model in models:
        say(f"checkpoint: {model.source} ({model.config.preset}, step {model.step})")
    return models


def _neither(preset: str) -> NoReturn:
    """Say how to get both detectors, or the one that is missing.

    Raises:
        UserError: It names them.
    """
    first, where = f"a detector to compare with {ARCHITECTURES[preset]}", "`dprd train --data DATA`"
    try:
        find_preset(preset)
    except UserError as error:
        raise UserError(
            f"two detectors are missing in runs/: {first} (train it with {where}), and "
            f"{ARCHITECTURES[preset]} (train it with `dprd train --data DATA --preset {preset}`); "
            f"two come along: `dprd gradcam ... --weights demo --compare cascade-mrcnn`"
        ) from error
    raise UserError(f"no run in runs/ is {first}; train one with {where}, or pass --weights")


def _second(first: LoadedModel, weights: str, preset: str) -> str:
    """Return what `load_model` takes for a preset beside the first detector; may download."""
    try:
        return find_preset(preset, beside=weights)
    except UserError as error:
        own = {name.casefold() for name in first.class_names}
        fitting = [
            name for name in published_as(preset) if own & {c.casefold() for c in ZOO[name].classes.values()}
        ]
        title = f"{ARCHITECTURES[preset]} to compare with"
        training = f"train one with `dprd train --data DATA --preset {preset}`"
        if not fitting:
            raise UserError(
                f"no {title}: no run of preset {preset} in runs/; {training} on the classes of {first.source}"
            ) from error
        say(f"no run of preset {preset} in runs/: its published weights {fitting[-1]} take its place")
        file = ZOO[fitting[-1]]
        try:
            fetch_file(file.url, file.file_name, file.sha256)
        except UserError as problem:
            raise UserError(f"no {title}: {problem}; or {training}") from problem
        return fitting[-1]


def model_titles(models: Sequence[LoadedModel]) -> tuple[str, ...]:
    """Return what to call each model: its architecture, and where two have the same, its run."""
    titles = []
    for model in models:
        preset = model.config.preset
        titles.append(ARCHITECTURES.get(preset.removesuffix("-small").removesuffix("-medium"), preset))
    if len(set(titles)) == len(titles):
        return tuple(titles)
    named = [f"{title}\n{_run_name(model.source)}" for title, model in zip(titles, models, strict=True)]
    if len(set(named)) == len(named):
        return tuple(named)
    return tuple(f"{title} ({number})" for number, title in enumerate(named, start=1))


def _run_name(source: Path) -> str:
    return source.parent.name if source.stem in ("best", "last", "previous") else source.stem
