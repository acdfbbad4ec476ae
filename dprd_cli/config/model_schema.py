"""The network's part of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dprd_cli.config.fields import (
    Count,
    Factor,
    Fraction,
    Layers,
    Norm,
    Positive,
    Rate,
    RoICount,
    Section,
    Width,
)
from dprd_cli.config.parts_schema import FusionConfig, PartsConfig
from dprd_cli.config.registered_names import BackboneName, NeckName


class BackboneConfig(Section):
    """Feature extractor.

    Attributes:
        name: `r50`, `r101`, `x101` (ResNeXt-101-32x8d), the small `r10` (one block a stage, without ImageNet
            weights), `r18`, `r34`, `mobilenet_v2`, torchvision's `convnext_*`, `swin_v2_*`,
            `efficientnet_v2_*` and `regnet_*`, `timm:NAME`, or a plugin's.
        norm: In place of BatchNorm: `frozen_bn` for pretrained weights, `bn` (trainable) or `gn` for training
            from scratch; `auto` takes `frozen_bn` with weights and `bn` without.
        frozen_stages: How many of stem, res2, res3, ... keep their weights; `auto` takes 2 of pretrained
            ResNets and of MobileNetV2 (Detectron2's setting), else 0.
        weights: `imagenet` (torchvision's, or timm's own), published ones such as `detectron2:MSRA/R-50`, a
            file with torchvision's, timm's or Caffe2's key names, `none`, or `auto`: `none` on the built-in
            data, for a plugin's backbone and where a whole detector is started from, `imagenet` elsewhere.
        stride_in_1x1: Bottlenecks of r50 and r101 halve the resolution in their first 1x1 convolution (the
            original ResNet, Caffe's and Detectron2's weights) or in the 3x3 one (torchvision's).
    """

    name: BackboneName = "r50"
    norm: Literal["auto", "frozen_bn", "bn", "gn"] = "auto"
    frozen_stages: Literal["auto", 0, 1, 2, 3, 4, 5] = "auto"
    weights: str = "auto"
    stride_in_1x1: bool = False


class NeckConfig(Section):
    """Feature pyramid P2..P6.

    Attributes:
        name: `fpn` (Lin et al. 2017; the paper's), `panet` (Liu et al. 2018), `bifpn` (Tan et al. 2020),
            or a plugin's.
        channels: C, width of every level.
        norm: Normalisation after each convolution.
        repeats: Layers of a BiFPN; the others have one.
    """

    name: NeckName = "fpn"
    channels: Width = 256
    norm: Norm = "none"
    repeats: Layers = 3


class RPNConfig(Section):
    """Region proposal network; defaults are Detectron2's (paper: one size a level, three ratios).

    Attributes:
        anchor_sizes: Square root of the anchor area on P2..P6, pixels.
        aspect_ratios: Height over width.
        convs: 3x3 convolutions before the objectness and box layers.
        fg_iou: Anchors at or above this IoU are objects.
        bg_iou: Anchors below this IoU are background; those between are ignored.
        anchors_per_image: Anchors sampled for the loss in each image.
        positive_fraction: Largest share of objects among them.
        pre_nms_train: Proposals kept per level before NMS in training.
        pre_nms_test: The same at test.
        post_nms_train: Proposals kept per image after NMS in training.
        post_nms_test: The same at test.
        nms_iou: IoU above which the lower-scored proposal goes.
        smooth_l1_beta: Transition of the smooth L1 box loss; 0 is plain L1 (Detectron2).
    """

    anchor_sizes: tuple[Factor, Factor, Factor, Factor, Factor] = (32.0, 64.0, 128.0, 256.0, 512.0)
    aspect_ratios: Annotated[tuple[Factor, ...], Field(min_length=1, max_length=64)] = (0.5, 1.0, 2.0)
    convs: Layers = 1
    fg_iou: Fraction = 0.7
    bg_iou: Fraction = 0.3
    anchors_per_image: RoICount = 256
    positive_fraction: Fraction = 0.5
    pre_nms_train: RoICount = 2000
    pre_nms_test: RoICount = 1000
    post_nms_train: RoICount = 1000
    post_nms_test: RoICount = 1000
    nms_iou: Fraction = 0.7
    smooth_l1_beta: Rate = 0.0


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
        mask_iou_loss: `half` the squared error, averaged over masks that meet their object at all (Huang et
            al.'s code), or the `mean` squared error (older runs).
        mask_iou_grad: Let the MaskIoU head's gradient into the mask that it sees (Huang et al.'s code).
        norm: Normalisation inside the heads' convolutions.
        box_pool: Side of the RoI feature of the box head, S = 7.
        mask_pool: Side of the RoI feature of the mask head, S = 14.
        sampling_ratio: RoIAlign samples per bin and axis; 0 adapts to the box (Detectron2).
        canonical_size: Side of a box that is pooled from P4, pixels (FPN's 224 belongs to images of 800;
            the built-in ones are smaller).
        smooth_l1_beta: Transition of the smooth L1 box loss; 0 is plain L1 (Detectron2).
    """

    box_dim: Width = 1024
    box_fcs: Layers = 2
    box_convs: Annotated[int, Field(ge=0, le=64)] = 0
    mask: Literal["auto", True, False] = "auto"
    mask_channels: Width = 256
    mask_convs: Layers = 4
    mask_iou: bool = True
    mask_iou_channels: Width = 256
    mask_iou_dim: Width = 1024
    mask_iou_loss: Literal["half", "mean"] = "half"
    mask_iou_grad: bool = True
    norm: Norm = "none"
    box_pool: Layers = 7
    mask_pool: Layers = 14
    sampling_ratio: Annotated[int, Field(ge=0, le=16)] = 2
    canonical_size: Factor = 224.0
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
        mask_grad_scale: The same for the mask branch; `auto` takes 1/number of `mask_stages`, so that several
            mask heads together weigh as much as Cascade Mask R-CNN's one.
    """

    ious: Annotated[tuple[Fraction, ...], Field(max_length=16)] = (0.5, 0.6, 0.7)
    box_weights: Annotated[tuple[tuple[Factor, Factor, Factor, Factor], ...], Field(max_length=16)] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )
    part_stages: Annotated[tuple[Positive, ...], Field(max_length=16)] = (1, 3)
    mask_stages: Annotated[tuple[Positive, ...], Field(max_length=16)] = (1, 2, 3)
    class_agnostic_box: bool = True
    average_masks: bool = True
    feature_grad_scale: Fraction = 1 / 3
    mask_grad_scale: Literal["auto"] | Fraction = "auto"

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
        rois_per_image: RoIs per image.
        positive_fraction: Largest share of objects among them.
        bg_iou_low: Background RoIs need at least this IoU with an object (paper: 0.1; baselines: 0).
        bg_from_empty: Draw background RoIs, from IoU 0, of images without objects, which would give the
            heads nothing else to learn from.
        mask_rois_per_image: Each stage's mask branch sees at most so many of its object RoIs per image,
            drawn at random; 0 takes all. Later stages have ever more, and on a CPU they take most of a step.
    """

    rois_per_image: RoICount = 512
    positive_fraction: Fraction = 0.25
    bg_iou_low: Fraction = 0.1
    bg_from_empty: bool = True
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
    detections_per_image: RoICount = 100


class ModelConfig(Section):
    """The whole network. `model/build.py` is the only file that reads it.

    Attributes:
        conventions: Whose details to follow (anchor rounding, RoIAlign's frame, mask targets, ...):
            `model/conventions.py` lists them. Published weights set it.
        pixel_mean: Mean of R, G and B, in 0..255.
        pixel_std: Standard deviation of R, G and B, in 0..255.
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
    pixel_mean: tuple[Rate, Rate, Rate] = (123.675, 116.28, 103.53)
    pixel_std: tuple[Factor, Factor, Factor] = (58.395, 57.12, 57.375)
