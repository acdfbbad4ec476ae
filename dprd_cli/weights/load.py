"""From what `--weights` names to a detector that is ready: runs, checkpoints, the demo, published weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from dprd_cli.config.backbone_names import TIMM
from dprd_cli.config.data_section import with_data_section
from dprd_cli.config.plugins import PluginNeededError, load_own_plugins, named_plugins
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import read_toml, validate
from dprd_cli.errors import UsageError, UserError
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.model.timm_backbones import timm_config
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.process_group import ProcessGroup, join_process_group
from dprd_cli.runtime.progress import detail, say, stage
from dprd_cli.weights.checkpoint import check_state, load_state, read_checkpoint
from dprd_cli.weights.class_choice import find_classes
from dprd_cli.weights.find import find_checkpoint
from dprd_cli.weights.foreign import caffe2_model, load_exactly, read_foreign, warm_start
from dprd_cli.weights.published import (
    published_config,
    published_detector,
    read_published,
    translate_state,
)
from dprd_cli.weights.zoo import PublishedWeights, foreign_file, is_published, published

#: Score from which detections are shown where nothing is known of a detector.
USUAL_SCORE = 0.5
_LEAST_SIDE, _LARGEST_SIDE = 32, 8192  # pixels


class DetectionChoice(TypedDict, total=False):
    """What of an image becomes detections, where that differs from what the detector's configuration says.

    Attributes:
        classes: Only these, by name or by category id; all if empty.
        max_detections: Only the best so many of an image.
        nms_iou: IoU above which, of two boxes of a class, the lower-scored goes.
        class_agnostic_nms: Compare boxes of all classes so.
        image_size: Short side that images are resized to, pixels.
    """

    classes: Sequence[str | int]
    max_detections: int | None
    nms_iou: float | None
    class_agnostic_nms: bool
    image_size: int | None


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
        score_thresh: Score from which its detections are shown: that of the best F1 when it was evaluated in
            training; None where that is not known.
    """

    detector: Detector
    config: Config
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    with_masks: bool
    step: int
    source: Path
    score_thresh: float | None = None

    @property
    def shown_from(self) -> float:
        """The score from which detections are shown where nobody says otherwise."""
        return USUAL_SCORE if self.score_thresh is None else self.score_thresh

    def with_part_offsets(self, kind: str) -> LoadedModel:
        """Return the model with its parts elsewhere.

        Args:
            kind: `learned`, `mean` (one template per part) or `reference` (parts do not move).

        Raises:
            UsageError: If it has no parts that could be put there.
        """
        try:
            return replace(self, detector=self.detector.with_part_offsets(kind))
        except UsageError as error:
            raise UsageError(
                f"--part-offsets {kind}: {self.source}: {error}; leave the option out"
            ) from error

    def with_choice(self, **choice: Unpack[DetectionChoice]) -> LoadedModel:
        """Return the model with another choice of what is a detection; what is not given stays.

        Args:
            choice: See `DetectionChoice`.

        Raises:
            UsageError: At a class that there is not, or a number that is out of range.
        """
        classes, image_size = choice.get("classes") or (), choice.get("image_size")
        max_detections, nms_iou = choice.get("max_detections"), choice.get("nms_iou")
        if max_detections is not None and max_detections < 1:
            raise UsageError(f"--max-detections {max_detections}: expected at least 1")
        if nms_iou is not None and not 0 <= nms_iou <= 1:
            raise UsageError(f"--nms-iou {nms_iou}: expected a number from 0 to 1")
        if image_size is not None and not _LEAST_SIDE <= image_size <= _LARGEST_SIDE:
            raise UsageError(f"--image-size {image_size}: expected {_LEAST_SIDE} to {_LARGEST_SIDE} pixels")
        chosen = find_classes(classes, self.class_names, self.category_ids) if classes else None
        selector = self.detector.roi_heads.selector.chosen(
            classes=chosen,
            max_detections=max_detections,
            nms_iou=nms_iou,
            class_agnostic=choice.get("class_agnostic_nms", False),
        )
        config = with_data_section(self.config, image_size=image_size)
        return replace(self, detector=self.detector.with_selector(selector), config=config)

    def with_data(
        self, path: str | None = None, on_bad_image: str | None = None, overrides: Sequence[str] = ()
    ) -> LoadedModel:
        """Return the model with another data section; see `with_data_section`.

        Args:
            path: Folder with annotations, or `synthetic`, where it changes.
            on_bad_image: `error` or `skip`, where it changes.
            overrides: `data.KEY=VALUE` pairs; they win.

        Raises:
            UsageError: At a pair that is none, an unknown key, a wrong value, or a key of another section.
        """
        config = with_data_section(self.config, path=path, on_bad_image=on_bad_image, overrides=overrides)
        return replace(self, config=config)


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
    with stage(f"load {spec or 'the newest run'}"):
        model = _load_foreign(spec) if is_published(spec) or foreign_file(spec) else _load_own(spec)
    model.detector.to(place).to(memory_format=torch.channels_last).eval()
    size = sum(parameter.numel() for parameter in model.detector.parameters()) / 1e6
    config, classes = model.config, len(model.class_names)
    detail(
        f"detector: {config.preset}, {config.model.backbone.name}, {classes} classes, {size:.1f} million "
        f"parameters, on {place}"
    )
    return model


@contextmanager
def model_in_group(spec: str, device: str = "auto") -> Iterator[tuple[LoadedModel, ProcessGroup]]:
    """Join the other processes of the job, if there are any, and load a detector in each.

    Args:
        spec: As for `load_model`; the main process alone downloads.
        device: As for `load_model`; each process gets its own GPU.
    """
    with join_process_group(device) as group:
        model = group.main_first(lambda: load_model(spec, device))
        say(f"checkpoint: {model.source} (step {model.step})")
        yield model, group


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
        score_thresh=content.get("score_thresh"),
    )


def _config_of(content: Mapping[str, Any], path: Path) -> Config:
    """Return a checkpoint's configuration.

    Raises:
        PluginNeededError: If it needs a plugin that was not run; a checkpoint never has one run.
        UserError: If it is none that this version knows.
    """
    if named_plugins(content["config"]):
        load_own_plugins(_plugins_of_run(path.parent / "config.toml"))
    try:
        return validate(content["config"], str(path))
    except PluginNeededError:
        raise
    except UsageError as error:  # not the command line's fault
        raise UserError(f"{str(error)[:300]}; the checkpoint is of another version, or malformed") from error


def _plugins_of_run(config_file: Path) -> list[str]:
    """Return the plugins that the configuration beside a checkpoint names, where it is in its run."""
    try:
        return named_plugins(read_toml(config_file)) if config_file.is_file() else []
    except UsageError:
        return []


def _load_foreign(spec: str) -> LoadedModel:
    file, path, state = read_published(spec)
    return build_published(file, state, path)


def build_published(
    file: PublishedWeights, state: dict[str, Tensor], source: Path, overrides: Mapping[str, Any] | None = None
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
    load_exactly(detector, translate_state(file, state, detector), str(source))
    return LoadedModel(
        detector=detector,
        config=config,
        class_names=tuple(file.classes.values()),
        category_ids=tuple(file.classes),
        with_masks=with_masks,
        step=0,
        source=source,
    )


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
        config = _config_of(content, path)
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
