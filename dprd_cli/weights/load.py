"""From what `--weights` names to a detector that is ready: runs, checkpoints, the demo, published weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from dprd_cli.config.data_section import with_data_section
from dprd_cli.config.plugins import PluginNeededError, load_own_plugins, named_plugins
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import read_toml, validate
from dprd_cli.errors import UsageError, UserError
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.model.inference import for_inference
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.precision import choose_precision
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup, join_process_group
from dprd_cli.runtime.progress import detail, say, stage
from dprd_cli.weights.checkpoint import check_state, load_state, read_checkpoint
from dprd_cli.weights.class_choice import find_classes
from dprd_cli.weights.find import find_checkpoint
from dprd_cli.weights.foreign import load_exactly
from dprd_cli.weights.published import (
    published_config,
    read_published,
    translate_state,
)
from dprd_cli.weights.zoo import PublishedWeights, foreign_file, is_published

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

    def with_precision(self, asked: str = "auto", group: ProcessGroup = SINGLE_PROCESS) -> LoadedModel:
        """Return the model for inference alone, in a precision; see `choose_precision` and `for_inference`.

        Args:
            asked: `fp32`, `bf16` or `auto`, which takes what the device is faster in; a detector that was
                trained in float32 on purpose stays in it.
            group: The processes that decide together; all call this.
        """
        kept = asked == "auto" and self.config.train.precision == "fp32"
        place = self.detector.device
        choice = group.broadcast(lambda: choose_precision("fp32" if kept else asked, place))
        tell = say if choice.name == "bf16" and place.type == "cpu" else detail
        tell(f"on {place}, in {choice.line()}")
        return replace(self, detector=for_inference(self.detector, choice.name))

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
def model_in_group(
    spec: str, device: str = "auto", precision: str = "auto"
) -> Iterator[tuple[LoadedModel, ProcessGroup]]:
    """Join the other processes of the job, if there are any, and load a detector in each, to detect with.

    Args:
        spec: As for `load_model`; the main process alone downloads.
        device: As for `load_model`; each process gets its own GPU.
        precision: As for `LoadedModel.with_precision`.
    """
    with join_process_group(device) as group:
        model = group.main_first(lambda: load_model(spec, device))
        say(f"checkpoint: {model.source} (step {model.step})")
        yield model.with_precision(precision, group), group


def _load_own(spec: str) -> LoadedModel:
    path = find_checkpoint(spec)
    content = read_checkpoint(path)
    config = config_of(content, path)
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


def config_of(content: Mapping[str, Any], path: Path) -> Config:
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
