"""Foreign weights: whole detectors of torchvision and Detectron2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dprd_cli.data.coco_classes import COCO_CLASSES, COCO_CLASSES_WITH_GAPS
from dprd_cli.errors import UserError
from dprd_cli.model.detector import Detector
from dprd_cli.weights.checkpoint import read_tensors
from dprd_cli.weights.names import Translation
from dprd_cli.weights.numpy_pickle import read_numpy_pickle
from dprd_cli.weights.zoo import (
    CAFFE,
    RESNEXT,
    TORCHVISION,
    TORCHVISION_V2,
    ZOO,
    Keys,
    PublishedWeights,
    detectron2_model,
)

_SHOWN = 3
#: Layers with an output per class: their rows go by class name.
_PREDICTORS = re.compile(r".*\.(box_head\.(classes|deltas)|mask_head\.masks|mask_iou_head\.ious)\.\w+")
_COUNTER = "num_batches_tracked"


# ---- reading --------------------------------------------------------------------------------------------


def read_foreign(path: Path) -> dict[str, Tensor]:
    """Read named tensors of any file of weights: `.pkl` with numpy arrays, PyTorch's, or safetensors.

    Raises:
        UserError: One line, if it cannot be read, holds code, or holds no tensors.
    """
    if path.suffix != ".pkl":
        return read_tensors(path)
    content = read_numpy_pickle(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if isinstance(content, dict) and isinstance(content.get("blobs"), dict):
        content = content["blobs"]
    arrays = {
        str(key): torch.from_numpy(value)
        for key, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.itemsize <= 8
    }
    if not arrays:
        raise UserError(f"{path}: no named arrays in it; pass a file of weights")
    return arrays


def identify(state: Mapping[str, Tensor]) -> Keys | None:
    """Return whose names the tensors of a checkpoint have: a key of `keymap.TABLES`, or None."""
    signs: tuple[tuple[Keys, str], ...] = (
        ("detectron2", "backbone.bottom_up.stem.conv1.weight"),
        ("caffe2", "conv1_w"),
        ("torchvision", "backbone.fpn.inner_blocks."),
    )
    return next((keys for keys, sign in signs if any(name.startswith(sign) for name in state)), None)


def describe_file(path: Path, state: Mapping[str, Tensor]) -> PublishedWeights:
    """Return what a detector's file holds, as the zoo would list it, by the names and shapes of its tensors.

    Depth and kind of the ResNet, cascade or not, and the class count show in them. How pixels are scaled does
    not: Detectron2's r50 and r101 are taken for MSRA's, its x101 for FAIR's, as in its zoo. Nor does the
    epsilon of frozen BatchNorm: a file under its published name has the published one, others 1e-5.

    Raises:
        UserError: If it is no detector of torchvision or Detectron2.
    """
    keys = identify(state)
    if keys is None or keys == "caffe2":
        kind = (
            "a backbone; pass it to --backbone-weights" if keys else "neither torchvision's nor Detectron2's"
        )
        raise UserError(f"{path}: not the weights of a detector: {kind}")
    predictor = next(
        (n for n in state if re.fullmatch(r"roi_heads\.box_predictor\.(0\.)?cls_score\.bias", n)), ""
    )
    if not predictor:
        raise UserError(f"{path}: not the weights of a detector: no box predictor in it")
    count = state[predictor].numel() - 1
    if count < 1:
        raise UserError(f"{path}: not the weights of a detector: {predictor} has no classes")
    if keys == "torchvision":
        model = TORCHVISION_V2 if "rpn.head.conv.1.0.weight" in state else TORCHVISION
        known = COCO_CLASSES_WITH_GAPS
    else:
        model, known = detectron2_model(_resnet(path, state)), COCO_CLASSES
    classes = known if len(known) == count else {i: f"class {i}" for i in range(1, count + 1)}
    preset = "cascade-mrcnn" if ".0." in predictor else "mask-rcnn"
    known_file = next((file for file in ZOO.values() if file.file_name == path.name), None)
    norm_eps = known_file.norm_eps if known_file else 1e-5
    return PublishedWeights(str(path), keys, preset, model, classes=classes, norm_eps=norm_eps)


def _width(state: Mapping[str, Tensor], name: str) -> int:
    """Return the input channels of a convolution; 0 if it is not there or is none."""
    weight = state.get(name)
    return weight.shape[1] if weight is not None and weight.ndim == 4 else 0


def _resnet(path: Path, state: Mapping[str, Tensor]) -> str:
    blocks = sum(bool(re.fullmatch(r"backbone\.bottom_up\.res4\.\d+\.conv1\.weight", name)) for name in state)
    width = _width(state, "backbone.bottom_up.res2.0.conv2.weight")
    name = {(6, 64): "r50", (23, 64): "r101", (23, 8): "x101"}.get((blocks, width))
    if name is None:
        raise UserError(f"{path}: not on a backbone that is known here (ResNet-50, -101, ResNeXt-101-32x8d)")
    return name


def caffe2_model(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the overrides of a Caffe2 backbone: how deep it is, and which pixels it expects; else none."""
    if identify(state) != "caffe2":
        return {}
    if _width(state, "res2_0_branch2b_w") == 8:
        return RESNEXT
    name = "r101" if "res4_22_branch2a_w" in state else "r50"
    return {**CAFFE, "backbone": {**CAFFE["backbone"], "name": name}}


# ---- whole detectors ------------------------------------------------------------------------------------


def load_exactly(detector: Detector, found: Translation, source: str) -> None:
    """Fill a detector; every tensor of both sides must find its counterpart.

    Raises:
        UserError: One line that names the first unused, missing or misshapen tensors.
    """
    own = detector.state_dict()
    lacking = [n for n in own if n not in found.state and not n.endswith(_COUNTER)]
    wrong = [n for n in own if n in found.state and found.state[n].shape != own[n].shape]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in (("missing", lacking), ("unused", found.unused), ("of another shape", wrong))
        if names
    ]
    if problems:
        raise UserError(f"{source}: the tensors do not fit the network: {'; '.join(problems)}")
    detector.load_state_dict(found.state, strict=False)


def warm_start(
    detector: Detector,
    state: Mapping[str, Tensor],
    source: str,
    source_classes: tuple[str, ...],
    classes: tuple[str, ...],
) -> list[str]:
    """Fill what a checkpoint has of a detector; the rest keeps its fresh weights.

    Predictors are taken as they are if both sides have the same classes; otherwise the rows of classes of
    the same name (and the background's) are taken.

    Args:
        detector: What is filled.
        state: Tensors by our names.
        source: What they come from, for the messages.
        source_classes: The checkpoint's classes.
        classes: The detector's classes.

    Returns:
        Lines that say how many tensors came from where, and which are fresh.

    Raises:
        UserError: If no tensor of the backbone fits.
    """
    own = detector.state_dict()
    taken: dict[str, Tensor] = {}
    by_name = 0
    for name, tensor in own.items():
        if name not in state:
            continue
        if _PREDICTORS.fullmatch(name) and source_classes != classes:
            mixed = _by_class(state[name], tensor, source_classes, classes)
            by_name += mixed is not None
            if mixed is not None:
                taken[name] = mixed
        elif state[name].shape == tensor.shape:
            taken[name] = state[name]
    if not any(name.startswith("backbone.") for name in taken):
        raise UserError(
            f"{source}: none of its tensors fits the backbone {detector.backbone.name}; see --backbone"
        )
    detector.load_state_dict(taken, strict=False)
    fresh = Counter(_module(n) for n in own if n not in taken and not n.endswith(_COUNTER))
    lines = [f"{len(taken)} of {len(own)} tensors from {source}"]
    if source_classes != classes:
        shared = [name for name in classes if name in source_classes]
        lines.append(
            f"  class predictors: {by_name} tensors by name of {len(shared)} of {len(classes)} classes"
            f"{' (' + ', '.join(shared[:5]) + (', ...' if len(shared) > 5 else '') + ')' if shared else ''}"
        )
    if fresh:
        lines.append("  fresh: " + ", ".join(f"{module} {number}" for module, number in fresh.items()))
    return lines


def _by_class(
    theirs: Tensor, ours: Tensor, source_classes: tuple[str, ...], classes: tuple[str, ...]
) -> Tensor | None:
    """Return our fresh rows with theirs where a class (or the background, last) has the same name."""
    rest = (len(source_classes), len(classes))
    for extra in (0, 1):  # with a background row: class logits
        sizes = [n + extra for n in rest]
        if len(theirs) % sizes[0] or len(ours) % sizes[1] or len(theirs) // sizes[0] != len(ours) // sizes[1]:
            continue
        if theirs.shape[1:] != ours.shape[1:]:
            return None
        group = len(theirs) // sizes[0]
        if group not in (1, 4):
            continue
        names = [*source_classes, *(["\0background"] * extra)]
        wanted = [*classes, *(["\0background"] * extra)]
        mixed = ours.clone().view(sizes[1], group, *ours.shape[1:])
        source = theirs.view(sizes[0], group, *theirs.shape[1:])
        pairs = [(row, names.index(name)) for row, name in enumerate(wanted) if name in names]
        if not pairs:
            return None
        to, of = zip(*pairs, strict=True)
        mixed[list(to)] = source[list(of)].to(mixed.dtype)
        return mixed.view_as(ours)
    return None


def _module(name: str) -> str:
    """Return the module that a tensor is counted under, such as `fusion` or `mask head`."""
    for part in ("fusion", "mask_iou_head", "mask_head", "box_head", "box_pooler", "roi_heads.parts"):
        if part in name:
            return part.rpartition(".")[2].replace("_", " ")
    return name.partition(".")[0]
