"""Named models and schedules, as data; and how they combine with files and flags.

A preset names an architecture, a schedule names how it is trained. Each is a set of overrides of the
defaults in `config/schema.py`, which are the paper's Cascade D-PRD on R50-FPN under Detectron2's settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from dprd_cli.config.schema import BUILT_IN, Config, TrainConfig
from dprd_cli.config.tree import ConfigTree, merge, nest, parse_overrides, read_toml, settle, validate
from dprd_cli.errors import UsageError, did_you_mean, short_repr

Name = TypeVar("Name", bound=str)

_ONE_STAGE: ConfigTree = {
    "ious": [0.5],
    "box_weights": [[10.0, 10.0, 5.0, 5.0]],
    "mask_stages": [1],
    "class_agnostic_box": False,
    "feature_grad_scale": 1.0,
}
_NO_PARTS: ConfigTree = {
    "parts": {"mode": "none", "losses": False},
    "heads": {"mask_iou": False},
    "sampling": {"bg_iou_low": 0.0},
}
# Where features are pretrained the place loss must not outweigh the others; where they are not it has to make
# them (docs/placed-parts.md).
_PLACED: ConfigTree = {"parts": {"mode": "placed", "places": {"weight": 0.25}}}
# Detectron2 trains its cascades on more proposals.
_CASCADE: ConfigTree = {"rpn": {"post_nms_train": 2000}}
# Narrow enough that two CPU cores train it from scratch in minutes; every module is the paper's.
_SMALL: ConfigTree = {
    "backbone": {"name": "r10"},
    "neck": {"channels": 64},
    "rpn": {
        "anchors_per_image": 32,
        "pre_nms_train": 400,
        "pre_nms_test": 400,
        "post_nms_train": 200,
        "post_nms_test": 200,
    },
    "fusion": {"norm": "gn", "residual": True},
    "heads": {
        "box_dim": 256,
        "mask_pool": 10,
        "sampling_ratio": 1,
        "mask_channels": 32,
        "mask_convs": 2,
        "mask_iou_channels": 32,
        "mask_iou_dim": 128,
        "norm": "gn",
    },
    "sampling": {"rois_per_image": 16},
    "parts": {"places": {"weight": 1.0}},
}
# For a few hundred photographs on a CPU: images of 320 pixels, hours and not days. The levels are those of
# images twice as large, because masks need the detail.
_MEDIUM: ConfigTree = {
    "neck": {"channels": 96},
    "rpn": _SMALL["rpn"] | {"anchors_per_image": 256},
    "fusion": {"norm": "gn", "residual": True},
    "heads": {
        "box_dim": 512,
        "mask_channels": 128,
        "mask_iou_channels": 64,
        "mask_iou_dim": 256,
        "norm": "gn",
        "canonical_size": 448.0,
    },
    "sampling": {"rois_per_image": 64, "mask_rois_per_image": 8},
}

_ARCHITECTURES: dict[str, ConfigTree] = {
    "mask-rcnn": {**_NO_PARTS, "cascade": {**_ONE_STAGE, "part_stages": []}},
    "cascade-mrcnn": {
        **_NO_PARTS,
        **_CASCADE,
        "cascade": {"part_stages": [], "mask_stages": [1]},
    },
    "dprd": {"cascade": {**_ONE_STAGE, "part_stages": [1]}},
    "cascade-dprd": _CASCADE,
    "dprd-placed": {**_PLACED, "cascade": {**_ONE_STAGE, "part_stages": [1]}},
    "cascade-dprd-placed": {**_PLACED, **_CASCADE},
}

#: Architecture name -> overrides of `ModelConfig`.
PRESETS: dict[str, ConfigTree] = {
    **_ARCHITECTURES,
    **{f"{name}-small": merge(merge({}, tree), _SMALL) for name, tree in _ARCHITECTURES.items()},
    **{f"{name}-medium": merge(merge({}, tree), _MEDIUM) for name, tree in _ARCHITECTURES.items()},
    # the largest backbone of the extended paper; timm's, with ImageNet-22k weights
    "cascade-dprd-swin-l": {
        **_CASCADE,
        "backbone": {"name": "timm:swin_large_patch4_window12_384.ms_in22k"},
    },
}

# Preset name -> overrides of `train` below the schedule's. Swin's for Cascade Mask R-CNN (Liu et al. 2021):
# 16 images a step, AdamW, lr 1e-4.
_TRAINING: dict[str, ConfigTree] = {
    "cascade-dprd-swin-l": {
        "optimizer": "adamw",
        "lr": 1e-4,
        "weight_decay": 0.05,
        "warmup_steps": 500,
    },
}

_PHOTOS: ConfigTree = {
    "data": {
        "train_min_sizes": [256, 288, 320, 352],
        "test_min_size": 320,
        "max_size": 576,
        "color_jitter": 0.2,
    },
    "train": {
        "steps": 1200,
        "batch_size": 4,
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.05,
        "warmup_steps": 50,
        "decay": "cosine",
        "clip_norm": 5.0,
        "part_lr_mult": 0.02,
        "eval_every": 200,
        "save_every": 50,
        "log_every": 10,
    },
}

# What Detectron2's schedules share and the defaults of `data` and `train` do not say.
_DETECTRON2: ConfigTree = {"data": {"skip_empty": True}}

#: Schedule name -> overrides of `data` and `train`, and of box sizes where the images are small.
SCHEDULES: dict[str, ConfigTree] = {
    # Detectron2's 1x and 3x for COCO: 90 k and 270 k steps of 16 images, SGD, lr 0.02.
    "1x": _DETECTRON2,
    "3x": {**_DETECTRON2, "train": {"steps": 270_000, "milestones": [7 / 9, 25 / 27]}},
    # The built-in data, from scratch, on a CPU.
    "small": {
        "model": {
            "rpn": {"anchor_sizes": [16.0, 32.0, 64.0, 128.0, 256.0]},
            "heads": {"canonical_size": 96.0},
        },
        "data": {"train_min_sizes": [160], "test_min_size": 160, "max_size": 320, "flip": 0.0},
        "train": {
            "steps": 1500,
            "batch_size": 6,
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.05,
            "warmup_steps": 30,
            "decay": "cosine",
            "clip_norm": 5.0,
            "part_lr_mult": 0.02,
            "eval_every": 500,
            "eval_limit": 100,
            "save_every": 100,
            "log_every": 10,
        },
    },
    # Detectron2's for VOC 07+12 (PascalVOC-Detection/faster_rcnn_R_50_FPN): 16 images a step, lr 0.02.
    "voc": {
        "data": {**_DETECTRON2["data"], "train_min_sizes": list(range(480, 801, 32))},
        "train": {"steps": 18_000, "milestones": [2 / 3, 8 / 9], "warmup_steps": 100},
    },
    # A few hundred photographs, from ImageNet weights, on a CPU.
    "photos": _PHOTOS,
    # Own data by default: what `config/auto.py` chooses for it, on top of these.
    "auto": _PHOTOS,
}


def preset_tree(name: str) -> ConfigTree:
    """Return what a preset lays over the defaults: the model, and how it is usually trained."""
    return merge({}, {"model": PRESETS[name], "train": _TRAINING.get(name, {})})


def pick(kind: str, name: str, known: Iterable[Name]) -> Name:
    """Return `name` if it is known.

    Raises:
        UsageError: With a suggestion, if it is not.
    """
    known = list(known)
    for one in known:
        if name == one:
            return one
    text = name if isinstance(name, str) else short_repr(name)  # a file or `--set` may hold anything
    raise UsageError(f"unknown {kind} '{text}'{did_you_mean(text, known)}; there are: {', '.join(known)}")


def resolve(
    *,
    preset: str | None = None,
    schedule: str | None = None,
    config_file: Path | None = None,
    flags: dict[str, Any] | None = None,
    overrides: Iterable[str] = (),
    base: ConfigTree | None = None,
    notes: list[str] | None = None,
) -> Config:
    """Combine preset, schedule, file, flags and `--set` (later wins) into one settled config.

    A learning rate belongs to the batch size that it comes with: where a later layer changes the batch size
    alone, the rate is scaled (`scale_rate`).

    Args:
        preset: Architecture name; the file's, or `cascade-dprd`, by default.
        schedule: Schedule name; the file's, or `small` on the built-in data and `1x` elsewhere, by default.
        config_file: TOML file with any subset of the keys.
        flags: Dotted key -> value; entries that are None are left out.
        overrides: `KEY=VALUE` pairs.
        base: What the weights to start from ask for, on top of preset and schedule.
        notes: Lines for the user are appended to it.

    Raises:
        UsageError: On an unknown name or key, or a value that does not fit.
    """
    file_tree = read_toml(config_file) if config_file else {}
    if file_tree:
        validate(file_tree, str(config_file))
    given = parse_overrides(overrides)
    for key, value in (flags or {}).items():
        if value is not None:
            given = merge(nest(key, value), given)
    preset = preset or given.get("preset") or file_tree.get("preset") or "cascade-dprd"
    path = given.get("data", {}).get("path") or file_tree.get("data", {}).get("path") or "synthetic"
    schedule = schedule or given.get("schedule") or file_tree.get("schedule")
    schedule = schedule or ("small" if path in BUILT_IN else "1x")
    tree = preset_tree(pick("preset", preset, PRESETS))
    merge(tree, SCHEDULES[pick("schedule", schedule, SCHEDULES)])
    merge(tree, base or {})
    batch = tree.get("train", {}).get("batch_size", TrainConfig().batch_size)
    for layer in (file_tree, given):
        merge(tree, layer)
        if "lr" in layer.get("train", {}):
            batch = tree["train"].get("batch_size", batch)
    merge(tree, {"preset": preset, "schedule": schedule})
    config = settle(validate(tree, str(config_file) if config_file else "config"))
    return scale_rate(config, batch, notes if notes is not None else [])


def scale_rate(config: Config, batch_size: int, notes: list[str]) -> Config:
    """Return the config with the learning rate that its batch size asks for.

    Args:
        config: Its `train.lr` is for `batch_size` images a step.
        batch_size: Images a step.
        notes: A line is appended if the rate changes.

    Source: linear for SGD, Goyal et al. 2017 (arXiv 1706.02677); square root for Adam, Malladi et al. 2022
    (arXiv 2205.10287).
    """
    train = config.train
    if train.batch_size == batch_size or not train.scale_lr:
        return config
    ratio = train.batch_size / batch_size
    rate = train.lr * (ratio if train.optimizer == "sgd" else ratio**0.5)
    how = "linearly" if train.optimizer == "sgd" else "by the square root"
    notes.append(
        f"learning rate {rate:.3g}: {train.lr:g} is for {batch_size} images a step, scaled {how} to "
        f"{train.batch_size} (train.lr sets it, train.scale_lr=false keeps it); the {train.steps} steps see "
        f"{train.steps * train.batch_size:,} images"
    )
    return config.model_copy(update={"train": train.model_copy(update={"lr": rate})})
