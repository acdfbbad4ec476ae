"""From what `--weights` names to a detector that is ready: runs, checkpoints, the demo, published weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import merge, read_toml, validate
from dprd_cli.errors import UsageError, UserError
from dprd_cli.files.downloads import download_folder, fetch
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.runtime.device import pick_device
from dprd_cli.weights.checkpoint import check_state, load_state, read_checkpoint
from dprd_cli.weights.foreign import caffe2_model, describe_file, load_exactly, read_foreign, warm_start
from dprd_cli.weights.names import Translation, translate
from dprd_cli.weights.zoo import ZOO, Published, foreign_file, is_published, published


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A detector ready to detect, and what it was trained as.

    Attributes:
        detector: In eval mode, on the device asked for.
        config: The run's configuration.
        class_names: Name of each class index 0..K-1.
        category_ids: Original category id of each class index.
        with_masks: Whether the detector has mask heads.
        step: Optimiser steps it was trained for.
        source: The file it came from.
    """

    detector: Detector
    config: Config
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    with_masks: bool
    step: int
    source: Path


def load_model(spec: str = "", device: str = "auto") -> LoadedModel:
    """Build the detector that `spec` names.

    Args:
        spec: A run folder (its best checkpoint, else the last), a file, `demo`, published weights such as
            `detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x` (or such a file), or empty: the
            newest run.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        UserError: One line, if there is no such checkpoint or it does not fit.
    """
    place = pick_device(device)
    model = _load_foreign(spec) if is_published(spec) or foreign_file(spec) else _load_own(spec)
    model.detector.to(place).to(memory_format=torch.channels_last).eval()
    return model


def _load_own(spec: str) -> LoadedModel:
    path = find_checkpoint(spec)
    content = read_checkpoint(path)
    config = _config_of(content, path)
    names = tuple(content["class_names"])

    def build() -> Detector:
        return build_detector(config.model, num_classes=len(names), with_masks=content["with_masks"])

    with torch.device("meta"):  # the file may claim any network: does it hold that one?
        check_state(build(), content["model"], path)
    detector = build()
    load_state(detector, content["model"], path)
    return LoadedModel(
        detector=detector,
        config=config,
        class_names=names,
        category_ids=tuple(content["category_ids"]),
        with_masks=content["with_masks"],
        step=content["step"],
        source=path,
    )


def _config_of(content: Mapping[str, Any], path: Path) -> Config:
    """Return a checkpoint's configuration.

    Raises:
        UserError: If it is none that this version knows.
    """
    try:
        return validate(content["config"], str(path))
    except UsageError as error:  # not the command line's fault
        raise UserError(f"{str(error)[:300]}; the checkpoint is of another version, or malformed") from error


def _load_foreign(spec: str) -> LoadedModel:
    file, path, state = read_published(spec)
    return build_published(file, state, path)


def read_published(spec: str) -> tuple[Published, Path, dict[str, Tensor]]:
    """Return what a published detector (or such a file) is, where it lies, and its tensors.

    Raises:
        UserError: If it cannot be had, or is no detector.
    """
    if path := foreign_file(spec):
        state = read_foreign(path)
        return describe_file(path, state), path, state
    file = _detector(spec)
    path = fetch(file.url, file.file_name, file.sha256)
    return file, path, read_foreign(path)


def _detector(spec: str) -> Published:
    """Return the published detector of that name; backbones are an error."""
    file = published(spec)
    if not file.preset:
        raise UsageError(f"{spec}: the weights of a backbone; pass them to --backbone-weights")
    return file


def build_published(
    file: Published, state: dict[str, Tensor], source: Path, overrides: Mapping[str, Any] | None = None
) -> LoadedModel:
    """Build a published detector: the same network as in its framework, to the last tensor.

    Args:
        file: What it is.
        state: Its tensors, by the framework's names.
        source: For messages.
        overrides: More overrides of the model's configuration.

    Raises:
        UserError: If a tensor is unused, missing or of another shape.
    """
    with_masks = any(".mask_" in name for name in state)
    config = published_config(file, overrides)
    detector = build_detector(config.model, num_classes=len(file.classes), with_masks=with_masks)
    load_exactly(detector, _translate(file, state, detector), str(source))
    return LoadedModel(
        detector=detector,
        config=config,
        class_names=tuple(file.classes.values()),
        category_ids=tuple(file.classes),
        with_masks=with_masks,
        step=0,
        source=source,
    )


def published_config(file: Published, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the configuration of a published detector."""
    tree = resolve(preset=file.preset, schedule="1x").model_dump(mode="json")
    merge(tree["model"], file.model)
    merge(tree["model"], {"backbone": {"frozen_stages": 2, "weights": "none"}})
    merge(tree["model"], overrides or {})
    return validate(tree, file.url)


def _translate(file: Published, state: dict[str, Tensor], detector: Detector) -> Translation:
    return translate(state, file.keys, detector.state_dict(), norm_eps=file.norm_eps)


def start_from(detector: Detector, spec: str, classes: tuple[str, ...]) -> list[str]:
    """Fill a detector that is to be trained with what `spec` has of it; see `warm_start`.

    Args:
        detector: Fresh.
        spec: As for `load_model`.
        classes: The detector's classes.

    Returns:
        Lines that say what came from where.
    """
    if is_published(spec) or foreign_file(spec):
        file, path, foreign = read_published(spec)
        found = _translate(file, foreign, detector)
        lines = warm_start(detector, found.state, str(path), tuple(file.classes.values()), classes)
        return lines + ([f"  unused there: {', '.join(found.unused)}"] if found.unused else [])
    path = find_checkpoint(spec)
    content = read_checkpoint(path)
    names = tuple(content["class_names"])
    return warm_start(detector, content["model"], str(path), names, classes)


def inspect_weights(spec: str) -> dict[str, Any]:
    """Return what weights are: their network, classes, and which tensor becomes which.

    Args:
        spec: As for `load_model`.
    """
    if not (is_published(spec) or foreign_file(spec)):
        model = load_model(spec, "cpu")
        names = list(model.detector.state_dict())
        known = {"file": str(model.source), "preset": model.config.preset, "keys": "dprd"}
        return {
            **known,
            "backbone": model.config.model.backbone.name,
            "tensors": len(names),
            "classes": list(model.class_names),
            "origin": {name: name for name in names},
        }
    file, path, state = read_published(spec)
    config = published_config(file)
    masks = any(".mask_" in name for name in state)
    with torch.device("meta"):
        detector = build_detector(config.model, num_classes=len(file.classes), with_masks=masks)
    found = _translate(file, state, detector)
    return {
        "file": str(path),
        "preset": file.preset,
        "keys": file.keys,
        "backbone": config.model.backbone.name,
        "tensors": len(state),
        "used": len(set(found.origin.values())),
        "unused": found.unused,
        "missing": [
            name
            for name in detector.state_dict()
            if name not in found.state and not name.endswith("num_batches_tracked")
        ],
        "classes": list(file.classes.values()),
        "origin": found.origin,
    }


def implied_config(spec: str, preset: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the preset and the overrides that training from `spec` implies.

    A checkpoint of this project implies its whole network, unless another preset is asked for; published
    weights imply their backbone and how pixels are scaled.

    Args:
        spec: As for `load_model`.
        preset: The preset that was asked for, or None.
    """
    shared = ["backbone", "pixel_mean", "pixel_std"]
    if foreign_file(spec):
        model = read_published(spec)[0].model
    elif is_published(spec):
        model = _detector(spec).model
    else:
        path = find_checkpoint(spec)
        content = read_checkpoint(path)
        config = _config_of(content, path)
        model = config.model.model_dump(mode="json")
        if preset in (None, config.preset):
            return config.preset, {"model": model}
        shared.append("neck")
    return preset, {"model": {key: model[key] for key in shared if key in model}}


def implied_by_backbone(spec: str) -> dict[str, Any]:
    """Return the overrides that a published backbone (or such a `.pkl` file) implies; else none."""
    if is_published(spec):
        file = published(spec)
        if file.preset:
            raise UsageError(f"{spec}: the weights of a detector; pass them to --weights")
        return {"model": file.model}
    path = foreign_file(spec)
    return {"model": caffe2_model(read_foreign(path))} if path and path.suffix == ".pkl" else {}


def find_checkpoint(spec: str = "", runs: Path = Path("runs")) -> Path:
    """Return the file that `spec` stands for (see `load_model`).

    Raises:
        UserError: If there is none, with the next step.
    """
    if spec == "demo":
        return _demo_checkpoint()
    path = Path(spec)
    if spec and path.is_file():
        return path
    if spec and path.is_dir():
        return _checkpoint_in(path) or _no_checkpoint(path)
    if spec:
        raise UserError(f"no such checkpoint: {spec}; pass a file, a run folder, or 'demo'")
    newest = newest_run(runs)
    return (newest and _checkpoint_in(newest)) or _no_checkpoint(runs)


def find_preset(preset: str, runs: Path = Path("runs")) -> str:
    """Return what `load_model` takes for the newest run of a preset, else for its published weights.

    Args:
        preset: Its `-small` and `-medium` forms count too.
        runs: Where runs are.

    Raises:
        UserError: If there is no such run, and no such weights were downloaded before.
    """
    run = newest_run(runs, preset)
    if run is not None:
        return str(run)
    names = [name for name, file in ZOO.items() if file.preset == preset]
    here = [name for name in names if (download_folder() / ZOO[name].file_name).is_file()]
    if here:
        return here[-1]
    fetching = f", fetch published ones with `dprd weights fetch {names[-1]}`" if names else ""
    raise UserError(
        f"no run of preset {preset} in {runs}/; train one with `dprd train --preset {preset}`{fetching}, "
        "or pass a run folder or checkpoint"
    )


def newest_run(runs: Path = Path("runs"), preset: str = "") -> Path | None:
    """Return the run folder (of a preset, where one is given) whose checkpoint is the newest, or None."""
    found = {
        folder: path
        for folder in runs.glob("*/")
        if (path := _checkpoint_in(folder, ("last", "previous", "best")))
        and (not preset or _preset_of(folder) in (preset, f"{preset}-small", f"{preset}-medium"))
    }
    return max(found, key=lambda folder: found[folder].stat().st_mtime, default=None)


def _preset_of(folder: Path) -> str:
    path = folder / "config.toml"
    return str(read_toml(path).get("preset", "")) if path.is_file() else ""


def _checkpoint_in(folder: Path, names: tuple[str, ...] = ("best", "last", "previous")) -> Path | None:
    return next((path for name in names if (path := folder / f"{name}.pt").is_file()), None)


def _no_checkpoint(folder: Path) -> Path:
    raise UserError(f"no checkpoint in {folder}/; train one with `dprd train`, or pass --weights")


def _demo_checkpoint() -> Path:
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parent):
        if (path := folder / "assets" / "demo.safetensors").is_file():
            return path
    raise UserError("the demo checkpoint is not installed; train one with `dprd train`, or pass --weights")
