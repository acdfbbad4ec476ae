"""What training starts from: weights of another detector, and the configuration that they imply."""

from __future__ import annotations

from typing import Any

from dprd_cli.config.backbone_names import TIMM
from dprd_cli.errors import UsageError
from dprd_cli.model.detector import Detector
from dprd_cli.model.timm_backbones import timm_config
from dprd_cli.weights.checkpoint import read_checkpoint
from dprd_cli.weights.find import find_checkpoint
from dprd_cli.weights.foreign import caffe2_model, read_foreign, warm_start
from dprd_cli.weights.load import config_of
from dprd_cli.weights.published import published_detector, read_published, translate_state
from dprd_cli.weights.zoo import foreign_file, is_published, published


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
        found = translate_state(file, foreign, detector)
        lines = warm_start(detector, found.state, str(path), tuple(file.classes.values()), classes)
        return lines + ([f"  unused there: {', '.join(found.unused)}"] if found.unused else [])
    path = find_checkpoint(spec)
    content = read_checkpoint(path)
    names = tuple(content["class_names"])
    return warm_start(detector, content["model"], str(path), names, classes)


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
        model = published_detector(spec).model
    else:
        path = find_checkpoint(spec)
        content = read_checkpoint(path)
        config = config_of(content, path)
        model = config.model.model_dump(mode="json")
        if preset in (None, config.preset):
            return config.preset, {"model": model}
        shared.append("neck")
    return preset, {"model": {key: model[key] for key in shared if key in model}}


def implied_by_backbone(name: str, spec: str) -> dict[str, Any]:
    """Return the overrides that a backbone's weights imply: pixel statistics, where a stride is.

    Args:
        name: The backbone, for timm's models, which know how their pixels are scaled.
        spec: A published backbone or a `.pkl` file, which know; anything else implies nothing.
    """
    if name.startswith(TIMM) and spec != "none":
        about = timm_config(name)
        scales = {"pixel_mean": about["mean"], "pixel_std": about["std"]}
        return {"model": {key: [round(255 * one, 4) for one in value] for key, value in scales.items()}}
    if spec in ("none", "imagenet"):
        return {}
    if is_published(spec):
        file = published(spec)
        if file.preset:
            raise UsageError(f"{spec}: the weights of a detector; pass them to --weights")
        return {"model": file.model}
    path = foreign_file(spec)
    return {"model": caffe2_model(read_foreign(path))} if path and path.suffix == ".pkl" else {}
