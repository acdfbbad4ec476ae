"""The configuration: frozen, checked, and complete once resolved.

One `Config` describes a whole run. `config/presets.py` holds the named ones; `resolve` merges a preset and a
schedule with a TOML file and `--set` overrides, rejects unknown keys with a suggestion, and settles
everything that was left on `auto`, so that what is written into a run folder reproduces the run.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dprd_cli.errors import UsageError, did_you_mean

Norm = Literal["none", "gn", "bn"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]
_one_or_more = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
Words = Annotated[tuple[str, ...], _one_or_more]
Loggers = Annotated[tuple[Literal["tensorboard", "wandb"], ...], _one_or_more]


class Section(BaseModel):
    """A part of the configuration: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BackboneConfig(Section):
    """Feature extractor.

    Attributes:
        name: `r50`, `r101`, `x101` (ResNeXt-101-32x8d), or the small `r10`, `r18`, `r34`,
            `mobilenet_v2` (`r10`, one block a stage, has no ImageNet weights).
        norm: `frozen_bn` for pretrained weights, `bn` (trainable) or `gn` for training from scratch;
            `auto` takes `frozen_bn` with weights and `bn` without.
        frozen_stages: How many of stem, res2, res3, ... keep their weights; `auto` takes 2 with weights
            (Detectron2's setting) and 0 without.
        weights: `imagenet` (torchvision's), published ones such as `detectron2:MSRA/R-50`, a file with
            torchvision's or Caffe2's key names, `none`, or `auto`: `none` on the built-in data and where a
            whole detector is started from, `imagenet` elsewhere.
        stride_in_1x1: Bottlenecks of r50 and r101 halve the resolution in their first 1x1 convolution (the
            original ResNet, Caffe's and Detectron2's weights) or in the 3x3 one (torchvision's).
    """

    name: Literal["r10", "r18", "r34", "r50", "r101", "x101", "mobilenet_v2"] = "r50"
    norm: Literal["auto", "frozen_bn", "bn", "gn"] = "auto"
    frozen_stages: Literal["auto", 0, 1, 2, 3, 4, 5] = "auto"
    weights: str = "auto"
    stride_in_1x1: bool = False


class NeckConfig(Section):
    """Feature pyramid P2..P6.

    Attributes:
        name: `fpn` (Lin et al. 2017; the paper's), `panet` (Liu et al. 2018), `bifpn` (Tan et al. 2020).
        channels: C, width of every level.
        norm: Normalisation after each convolution.
        repeats: Layers of a BiFPN; the others have one.
    """

    name: Literal["fpn", "panet", "bifpn"] = "fpn"
    channels: Positive = 256
    norm: Norm = "none"
    repeats: Positive = 3


class RPNConfig(Section):
    """Region proposal network; defaults are Detectron2's (paper: one size a level, three ratios).

    Attributes:
        anchor_sizes: Square root of the anchor area on P2..P6, pixels.
        aspect_ratios: Height over width.
        convs: 3x3 convolutions before the objectness and box layers.
        fg_iou: Anchors at or above this IoU are objects.
        bg_iou: Anchors below this IoU are background; those between are ignored.
        anchors_per_image: Anchors sampled for the loss in each picture.
        positive_fraction: Largest share of objects among them.
        pre_nms_train: Proposals kept per level before NMS in training.
        pre_nms_test: The same at test.
        post_nms_train: Proposals kept per picture after NMS in training.
        post_nms_test: The same at test.
        nms_iou: IoU above which the lower-scored proposal goes.
        smooth_l1_beta: Transition of the smooth L1 box loss; 0 is plain L1 (Detectron2).
    """

    anchor_sizes: tuple[float, float, float, float, float] = (32.0, 64.0, 128.0, 256.0, 512.0)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    convs: Positive = 1
    fg_iou: Fraction = 0.7
    bg_iou: Fraction = 0.3
    anchors_per_image: Positive = 256
    positive_fraction: Fraction = 0.5
    pre_nms_train: Positive = 2000
    pre_nms_test: Positive = 1000
    post_nms_train: Positive = 1000
    post_nms_test: Positive = 1000
    nms_iou: Fraction = 0.7
    smooth_l1_beta: Rate = 0.0


class PartsConfig(Section):
    """DPR-Net: which part boxes a proposal carries, and how they move (paper: Eq. 2, Fig. 2, Fig. 4).

    Attributes:
        mode: `none` (the baselines), `fixed` (reference parts), `deformable`; or `pooling`, deformable RoI
            pooling (Table 2's "DPM"): the bins of the box branch shift in every stage, there are no part
            boxes, and as with `none` no other setting of parts and fusion has an effect.
        count: Parts per proposal, kP in the paper (Table 3).
        sigma: Least IoU of a moved part with its reference part; below, the reference part is used.
        feature_grad_scale: Factor on the gradient that flows from the part layer into the RPN feature:
            1 is the paper's literal sharing, 0 detaches it (measured in docs/evidence.md).
        straight_through: Give parts that fell back to their reference the moved part's gradient.
        refeed: Offsets of refined boxes: `lookup` (placed in the RPN's map anew) or `carry` (the proposal's).
        level: Pyramid level a part is pooled from: by its `own` area, or the `whole` box's level.
        losses: Part losses through the shared heads (L^prt in Eq. 3).
    """

    mode: Literal["none", "fixed", "deformable", "pooling"] = "deformable"
    count: Literal[2, 4, 8, 16] = 4
    sigma: Fraction = 0.5
    feature_grad_scale: Fraction = 0.0
    straight_through: bool = False
    refeed: Literal["lookup", "carry"] = "lookup"
    level: Literal["own", "whole"] = "own"
    losses: bool = True


class FusionConfig(Section):
    """How part and whole features become one (paper: Eq. 1, Fig. 1, Table 2).

    Attributes:
        name: `rda` (region assembly) or `concat`; without parts there is nothing to fuse.
        bottleneck: Channel divisor inside each RAB transform: C -> C/bottleneck -> C.
        norm: Normalisation after each convolution; `gn` helps when training from scratch.
        residual: Add each transform's input to its output, in RDA; not the paper's, but it learns much faster
            from random weights (measured in docs/evidence.md).
    """

    name: Literal["rda", "concat"] = "rda"
    bottleneck: Positive = 4
    norm: Norm = "none"
    residual: bool = False


class HeadsConfig(Section):
    """Box, mask and MaskIoU heads.

    Attributes:
        box_dim: Width of the box head's fully connected layers.
        box_fcs: Fully connected layers of the box head.
        box_convs: 3x3 convolutions before them.
        mask: Predict masks; `auto` follows the data (off where no object has one).
        mask_channels: Width of the mask head.
        mask_convs: 3x3 convolutions of the mask head.
        mask_iou: Attach the MaskIoU head (Mask Scoring R-CNN).
        mask_iou_channels: Width of its convolutions.
        mask_iou_dim: Width of its two fully connected layers.
        norm: Normalisation inside the heads' convolutions.
        box_pool: Side of the RoI feature of the box head, S = 7.
        mask_pool: Side of the RoI feature of the mask head, S = 14.
        sampling_ratio: RoIAlign samples per bin and axis; 0 adapts to the box (Detectron2).
        canonical_size: Side of a box that is pooled from P4, pixels (FPN's 224 belongs to pictures of 800;
            the built-in ones are smaller).
        smooth_l1_beta: Transition of the smooth L1 box loss; 0 is plain L1 (Detectron2).
    """

    box_dim: Positive = 1024
    box_fcs: Positive = 2
    box_convs: Count = 0
    mask: Literal["auto", True, False] = "auto"
    mask_channels: Positive = 256
    mask_convs: Positive = 4
    mask_iou: bool = True
    mask_iou_channels: Positive = 256
    mask_iou_dim: Positive = 1024
    norm: Norm = "none"
    box_pool: Positive = 7
    mask_pool: Positive = 14
    sampling_ratio: Count = 2
    canonical_size: Annotated[float, Field(gt=0)] = 224.0
    smooth_l1_beta: Rate = 0.0


class CascadeConfig(Section):
    """The cascade (paper: Fig. 3); one entry per stage in each tuple, one stage being no cascade.

    Attributes:
        ious: IoU at which a RoI counts as an object, per stage.
        box_weights: (wx, wy, ww, wh) of the box regression targets, per stage.
        part_stages: Stages (from 1) that assemble parts; the others transform the whole feature only.
        mask_stages: Stages (from 1) with mask and MaskIoU heads; Cascade Mask R-CNN as Detectron2 builds it
            has one mask head, trained on the first stage's RoIs.
        class_agnostic_box: One box per RoI instead of one per class.
        average_masks: Average masks and mask IoUs over the stages at test, or take the last stage's.
        feature_grad_scale: Factor on each stage's gradient into the box RoI features (1/stages, as in
            Detectron2's Cascade R-CNN; 1 is the plain sum of the stages' gradients).
    """

    ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    box_weights: tuple[tuple[float, float, float, float], ...] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )
    part_stages: tuple[int, ...] = (1, 3)
    mask_stages: tuple[int, ...] = (1, 2, 3)
    class_agnostic_box: bool = True
    average_masks: bool = True
    feature_grad_scale: Fraction = 1 / 3

    @model_validator(mode="after")
    def _check(self) -> CascadeConfig:
        if not self.ious or len(self.ious) != len(self.box_weights):
            raise ValueError("ious and box_weights need one entry per stage each")
        for name in ("part_stages", "mask_stages"):
            if any(not 1 <= stage <= len(self.ious) for stage in getattr(self, name)):
                raise ValueError(f"{name} counts stages from 1 to {len(self.ious)}")
        return self


class SamplingConfig(Section):
    """RoIs that the heads are trained on.

    Attributes:
        rois_per_image: RoIs per picture.
        positive_fraction: Largest share of objects among them.
        bg_iou_low: Background RoIs need at least this IoU with an object (paper: 0.1; baselines: 0).
        mask_rois_per_image: Each stage's mask branch sees at most so many of its object RoIs per picture,
            drawn at random; 0 takes all. Later stages have ever more, and on a CPU they take most of a step.
    """

    rois_per_image: Positive = 512
    positive_fraction: Fraction = 0.25
    bg_iou_low: Fraction = 0.1
    mask_rois_per_image: Count = 0


class TestConfig(Section):
    """What counts as a detection at test (Detectron2's settings).

    Attributes:
        score_thresh: Least score of a detection.
        nms_iou: IoU above which, of two boxes of a class, the lower-scored goes.
        detections_per_image: Only the best so many are kept.
    """

    score_thresh: Fraction = 0.05
    nms_iou: Fraction = 0.5
    detections_per_image: Positive = 100


class ModelConfig(Section):
    """The whole network. `model/build.py` is the only file that reads it.

    Attributes:
        conventions: Whose habits the details follow (anchor rounding, RoIAlign's frame, mask targets, ...):
            `model/conventions.py` lists them. Published weights set it.
        pixel_mean: Of R, G, B, in 0..255.
        pixel_std: Of R, G, B, in 0..255.
    """

    backbone: BackboneConfig = BackboneConfig()
    neck: NeckConfig = NeckConfig()
    rpn: RPNConfig = RPNConfig()
    parts: PartsConfig = PartsConfig()
    fusion: FusionConfig = FusionConfig()
    heads: HeadsConfig = HeadsConfig()
    cascade: CascadeConfig = CascadeConfig()
    sampling: SamplingConfig = SamplingConfig()
    test: TestConfig = TestConfig()
    conventions: Literal["detectron2", "torchvision"] = "detectron2"
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)


class DataConfig(Section):
    """Pictures and annotations.

    Attributes:
        path: `synthetic` (built in), or a folder that holds COCO or Pascal VOC annotations.
        train_json: Annotation file of the training split; found in the folder by default.
        val_json: Annotation file of the evaluation split; found in the folder by default.
        train_images: Folder of the training pictures; found by default.
        val_images: Folder of the evaluation pictures; found by default.
        voc_train: Image lists of a VOC folder's training split, such as `2007_trainval` (or `trainval`: every
            year's); chosen by what there is by default.
        voc_val: Image lists of a VOC folder's evaluation split.
        skip_difficult: Leave objects that VOC marks as difficult out of training too (Detectron2 trains on
            them).
        test_json: Image list of COCO test-dev (no annotations); found in the folder by default.
        test_images: Folder of the test-dev pictures; found by default.
        train_min_sizes: Short side in training, drawn from these (pixels).
        test_min_size: Short side at test (pixels).
        max_size: Longest side allowed (pixels).
        tta_min_sizes: Short sides of multi-scale testing (pixels); by default nine from 1/2 to 3/2 of
            `test_min_size`: 400, 500, ..., 1200 at 800.
        tta_max_size: Longest side allowed in multi-scale testing (pixels).
        tta_flip: Test every size mirrored too, in multi-scale testing.
        flip: Probability of a horizontal flip in training.
        scale_jitter: (least, largest) factor on the drawn short side in training.
        lsj_size: Large-scale jitter: side of the square that every training picture becomes (pixels), in
            place of `train_min_sizes`, `max_size` and `crop`: the picture is resized to fit the square times
            a factor of `scale_jitter` ([0.1, 2.0] in the field), cut where it is larger and padded where it
            is smaller; 0 is off.
        color_jitter: Strength of brightness, contrast and saturation jitter in training, 0..1.
        crop: Probability of a random crop in training.
        limit: Use only the first so many pictures of each split; 0 uses all.
        skip_empty: Leave pictures without objects out of training.
        on_bad_image: Stop at an unreadable picture, or `skip` it and count.
        max_pixels: Largest picture that is decoded, in pixels.
        check_pictures: Decode every picture once before training; those that were sound are remembered.
        workers: Loader processes; -1 chooses by the number of cores.
        synthetic_size: Side of the built-in pictures (pixels).
        synthetic_train: Number of built-in training pictures.
        synthetic_val: Number of built-in held-out pictures.
        synthetic_seed: Seed of the built-in data.
    """

    path: str = "synthetic"
    train_json: str = ""
    val_json: str = ""
    train_images: str = ""
    val_images: str = ""
    voc_train: Words = ()
    voc_val: Words = ()
    skip_difficult: bool = False
    test_json: str = ""
    test_images: str = ""
    train_min_sizes: tuple[Positive, ...] = (640, 672, 704, 736, 768, 800)
    test_min_size: Positive = 800
    max_size: Positive = 1333
    tta_min_sizes: tuple[Positive, ...] = ()
    tta_max_size: Positive = 4000
    tta_flip: bool = True
    flip: Fraction = 0.5
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    lsj_size: Count = 0
    color_jitter: Fraction = 0.0
    crop: Fraction = 0.0
    limit: Count = 0
    skip_empty: bool = False
    on_bad_image: Literal["error", "skip"] = "error"
    max_pixels: Positive = 178_956_970
    check_pictures: bool = True
    workers: Annotated[int, Field(ge=-1)] = -1
    synthetic_size: Annotated[int, Field(ge=64, le=1024)] = 160
    synthetic_train: Positive = 4096
    synthetic_val: Positive = 256
    synthetic_seed: Count = 0

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        least, largest = self.scale_jitter
        if not 0 < least <= largest:
            raise ValueError("scale_jitter is (least, largest), with 0 < least <= largest")
        return self


class TrainConfig(Section):
    """Optimisation.

    Attributes:
        steps: Optimiser steps.
        batch_size: Pictures per step.
        accumulate: Passes that a step's pictures are processed in, one after the other, to save memory; their
            gradients are averaged (docs/training.md says what differs from one pass).
        optimizer: `sgd` (momentum 0.9, the paper's) or `adamw`.
        lr: Learning rate after warm-up, for the batch size that it is given with.
        scale_lr: Scale `lr` where the batch size was changed without it: linearly for SGD, by the square root
            for AdamW.
        momentum: SGD's momentum.
        weight_decay: Weight decay (none on biases and normalisation under AdamW).
        warmup_steps: Steps of linear warm-up from lr/1000.
        decay: `multistep` (x0.1 at each milestone) or `cosine`.
        milestones: Fractions of `steps` at which multistep decays.
        clip_norm: Largest gradient norm of all parameters but the part layer's; 0 does not clip.
        backbone_lr_mult: Learning-rate factor of the backbone.
        part_lr_mult: Learning-rate factor of the part box transformation layer (docs/reading.md).
        part_clip_norm: Largest gradient norm of the part layer alone; 0 does not clip.
        eval_every: Steps between evaluations (the last step always evaluates); 0 only at the end.
        eval_limit: Evaluate on the first so many pictures during training; 0 uses all. The end uses all.
        best_metric: Metric of the evaluation by which `best.pt` is chosen, such as `segm_AP` or `recall50`.
        patience: Stop after so many evaluations without a better `best_metric`; 0 never does.
        ema: Decay of an exponential moving average of the weights, such as 0.999, which is then what is
            evaluated and saved as the model; 0 is off.
        save_every: Steps between checkpoints.
        log_every: Steps between metric lines.
        loggers: Where metrics go beside the CSV and JSONL files: `tensorboard`, `wandb`, where installed.
        seed: Seed of weights, order and augmentation.
        amp: Mixed precision: `auto` uses bfloat16 where CUDA is.
        device: `auto`, `cpu` or `cuda`.
        weights: A detector that training starts from, named as for `dprd train --weights`; empty for none.
    """

    steps: Positive = 90_000
    batch_size: Positive = 16
    accumulate: Positive = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Rate = 0.02
    scale_lr: bool = True
    momentum: Fraction = 0.9
    weight_decay: Rate = 1e-4
    warmup_steps: Count = 1000
    decay: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[Fraction, ...] = (2 / 3, 8 / 9)
    clip_norm: Rate = 0.0
    backbone_lr_mult: Rate = 1.0
    part_lr_mult: Rate = 1.0
    part_clip_norm: Rate = 1.0
    eval_every: Count = 5000
    eval_limit: Count = 0
    best_metric: str = "bbox_AP"
    patience: Count = 0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    save_every: Positive = 1000
    log_every: Positive = 20
    loggers: Loggers = ()
    seed: Count = 0
    amp: Literal["auto", "on", "off"] = "auto"
    device: str = "auto"
    weights: str = ""

    @property
    def pass_size(self) -> int:
        """Most pictures that go through the network at once."""
        return -(-self.batch_size // self.accumulate)


class Config(Section):
    """A whole run.

    Attributes:
        preset: Architecture that `model` started from.
        schedule: Schedule that `data` and `train` started from.
        model: The network.
        data: Pictures and annotations.
        train: Optimisation.
    """

    preset: str = "cascade-dprd"
    schedule: str = "1x"
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the configuration, such as `model.parts.sigma`."""
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from known_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `--set a.b=c` pairs into a nested dict; values are TOML, bare words are strings.

    Raises:
        UsageError: If a pair has no `=` or its key is unknown.
    """
    tree: dict[str, Any] = {}
    keys = set(known_keys())
    for pair in pairs:
        key, sign, text = pair.partition("=")
        key = key.strip()
        if not sign:
            raise UsageError(f"--set {pair}: expected KEY=VALUE, such as --set model.parts.sigma=0.4")
        if key not in keys:
            raise UsageError(f"--set {pair}: no config key '{key}'{did_you_mean(key, keys)}")
        try:
            value: Any = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        merge(tree, nest(key, value))
    return tree


def nest(key: str, value: Any) -> dict[str, Any]:
    """Return `{"a": {"b": value}}` for the key `a.b`."""
    first, _, rest = key.partition(".")
    return {first: nest(rest, value) if rest else value}


def merge(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `extra` into `base` in place, dict by dict, and return it; `extra` wins."""
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = dict(merge({}, value)) if isinstance(value, Mapping) else value
    return base


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML config file.

    Raises:
        UsageError: If the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the config file ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML config file ({error})") from error


def validate(tree: Mapping[str, Any], source: str = "config") -> Config:
    """Check a nested dict and return it as a `Config`.

    Raises:
        UsageError: One line naming the first wrong key (with a suggestion) or value.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{source}: no config key '{key}'{did_you_mean(key, known_keys())}") from error
        hint = ""
        if first["type"] == "literal_error" and isinstance(first["input"], str):
            hint = did_you_mean(
                first["input"],
                [w.strip("' ") for w in first["ctx"]["expected"].replace(" or ", ",").split(",")],
            )
        raise UsageError(f"{source}: {key} = {first['input']!r}: {first['msg']}{hint}") from error


def settle(config: Config) -> Config:
    """Replace every `auto` that depends on other fields only (not on files) by its value."""
    backbone = config.model.backbone
    weights = backbone.weights
    if weights == "auto":
        weights = "none" if config.data.path == "synthetic" or config.train.weights else "imagenet"
    scratch = weights == "none" and not config.train.weights
    norm = backbone.norm if backbone.norm != "auto" else ("bn" if scratch else "frozen_bn")
    frozen = backbone.frozen_stages if backbone.frozen_stages != "auto" else (0 if scratch else 2)
    backbone = backbone.model_copy(update={"weights": weights, "norm": norm, "frozen_stages": frozen})
    model = config.model.model_copy(update={"backbone": backbone})
    return config.model_copy(update={"model": model})


def to_toml(config: Config) -> str:
    """Write a config as TOML that `read_toml` and `validate` read back to the same config."""
    lines: list[str] = []

    def emit(tree: Mapping[str, Any], path: str) -> None:
        scalars = {k: v for k, v in tree.items() if not isinstance(v, Mapping)}
        if path and scalars:
            lines.append(f"\n[{path}]")
        # JSON's strings, numbers, booleans and arrays are valid TOML
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in scalars.items())
        for key, value in tree.items():
            if isinstance(value, Mapping):
                emit(value, f"{path}.{key}" if path else key)

    emit(config.model_dump(mode="json"), "")
    return "\n".join(lines) + "\n"
