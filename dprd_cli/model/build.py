"""From configuration to network: the only file that reads `ModelConfig`."""

from __future__ import annotations

import torch
from torch import nn

from dprd_cli.config import registry
from dprd_cli.config.model_schema import BackboneConfig, ModelConfig
from dprd_cli.errors import UsageError
from dprd_cli.model.anchors import Anchors
from dprd_cli.model.backbone import Backbone, BackboneOptions
from dprd_cli.model.conventions import CONVENTIONS
from dprd_cli.model.cue_parts import CueParts
from dprd_cli.model.detector import Detector
from dprd_cli.model.fusion import FusionOptions, NoFusion, WholeTransform
from dprd_cli.model.heads import BoxHead, MaskHead, MaskIoUHead
from dprd_cli.model.makers import check_features, kind_of
from dprd_cli.model.neck import FPN, NeckOptions
from dprd_cli.model.parts import DeformableParts, FixedParts, PartSource
from dprd_cli.model.placed_parts import LatentParts
from dprd_cli.model.places import place_offsets
from dprd_cli.model.positions import PartPositions
from dprd_cli.model.roi_heads import RoIHeads
from dprd_cli.model.rois import DeformablePooler, RegionPooler
from dprd_cli.model.rpn import RPN
from dprd_cli.model.sampling import RoISampler
from dprd_cli.model.selection import DetectionSelector
from dprd_cli.model.stage import Stage


def _fixed_parts(config: ModelConfig, num_classes: int) -> PartSource:
    del num_classes
    return FixedParts(config.parts.count)


def _deformable_parts(config: ModelConfig, num_classes: int) -> PartSource:
    del num_classes
    return DeformableParts(
        config.parts.count,
        config.neck.channels,
        len(config.rpn.aspect_ratios),
        sigma=config.parts.sigma,
        feature_grad_scale=config.parts.feature_grad_scale,
        straight_through=config.parts.straight_through,
    )


def _latent_parts(config: ModelConfig, num_classes: int) -> PartSource:
    parts, places = config.parts, config.parts.places
    return LatentParts(
        parts.count,
        _build_pooler(config),
        config.neck.channels,
        num_classes,
        place_offsets(parts.count, places.grid, places.reach, places.scales),
        looks_at=places.looks_at,
        pool=config.heads.box_pool,
        width=places.width,
        fine=places.offsets,
        sigma=parts.sigma,
        moves=places.move,
        entropy=places.entropy,
        entropy_until=places.entropy_until,
        draw=places.draw,
        apart=places.apart,
        weight=places.weight,
        feature_grad_scale=config.cascade.feature_grad_scale,
    )


def _cue_parts(config: ModelConfig, num_classes: int) -> PartSource:
    del num_classes
    return CueParts(config.parts.count)


#: `model.parts.mode` -> what makes its parts of the configuration and K, for the modes with part features
#: that a fusion assembles. An experiment may put parts of its own in one's place (`scripts/oracle_parts.py`).
PARTS = registry.parts
PARTS.update(
    fixed=_fixed_parts,
    deformable=_deformable_parts,
    placed=_latent_parts,
    oracle=_cue_parts,
)


def build_detector(config: ModelConfig, *, num_classes: int, with_masks: bool = True) -> Detector:
    """Build a detector with random weights.

    Args:
        config: Settled configuration (no `auto` in the backbone).
        num_classes: K.
        with_masks: Whether the data has masks; `heads.mask` can switch them off (or insist).

    Raises:
        UsageError: If the configuration contradicts itself.
    """
    if config.heads.mask != "auto":
        with_masks = config.heads.mask
    backbone = build_backbone(config.backbone)
    neck = _build_neck(config, backbone.channels)
    rpn = _build_rpn(config)
    roi_heads = _build_roi_heads(config, num_classes, with_masks=with_masks)
    detector = Detector(
        backbone=backbone,
        neck=neck,
        rpn=rpn,
        roi_heads=roi_heads,
        pixel_mean=config.pixel_mean,
        pixel_std=config.pixel_std,
    )
    return detector.to(memory_format=torch.channels_last)


def build_backbone(config: BackboneConfig) -> Backbone:
    """Build a backbone with random weights.

    Args:
        config: Settled configuration (no `auto`).
    """
    if config.norm == "auto" or config.frozen_stages == "auto":
        raise ValueError("expected a settled config (config.settle), but the backbone is on 'auto'")
    options = BackboneOptions(config.name, config.norm, config.frozen_stages, config.stride_in_1x1)
    backbone = registry.backbone.call(config.name, options)
    if not isinstance(backbone, Backbone):
        raise UsageError(f"model.backbone.name={config.name}: not a Backbone, but a {kind_of(backbone)}")
    if config.name in registry.backbone.from_plugins:
        check_features(backbone, config.name)
    return backbone


def _build_neck(config: ModelConfig, in_channels: tuple[int, ...]) -> nn.Module:
    settings = config.neck
    options = NeckOptions(in_channels, settings.channels, settings.norm, settings.repeats)
    neck = registry.neck.call(settings.name, options)
    if not isinstance(neck, nn.Module):
        raise UsageError(f"model.neck.name={settings.name}: not a module, but a {kind_of(neck)}")
    return neck


def _build_parts(config: ModelConfig, num_classes: int) -> PartSource | None:
    mode = config.parts.mode
    if mode not in PARTS:
        return None
    parts: PartSource = PARTS.call(mode, config, num_classes)
    if not isinstance(parts, nn.Module):
        raise UsageError(f"model.parts.mode={mode}: not a module, but a {kind_of(parts)}")
    return parts


def _build_rpn(config: ModelConfig) -> RPN:
    settings, conventions = config.rpn, CONVENTIONS[config.conventions]
    anchors = Anchors(
        settings.anchor_sizes,
        settings.aspect_ratios,
        FPN.strides,
        rounded=conventions.rounded_anchors,
        fitted=conventions.fitted_strides,
        lookup_cell=config.parts.lookup_cell,
    )
    return RPN(
        config.neck.channels,
        anchors,
        fg_iou=settings.fg_iou,
        bg_iou=settings.bg_iou,
        anchors_per_image=settings.anchors_per_image,
        positive_fraction=settings.positive_fraction,
        pre_nms=(settings.pre_nms_train, settings.pre_nms_test),
        post_nms=(settings.post_nms_train, settings.post_nms_test),
        nms_iou=settings.nms_iou,
        smooth_l1_beta=settings.smooth_l1_beta,
        num_convs=settings.convs,
        min_size=conventions.min_proposal,
        loss_by_sampled=conventions.rpn_loss_by_sampled,
        part_source=config.parts.source if config.parts.mode in PARTS else "none",
    )


def _build_fusion(config: ModelConfig, *, uses_parts: bool) -> nn.Module:
    channels, fusion, count = config.neck.channels, config.fusion, config.parts.count
    if config.parts.mode not in PARTS:
        return NoFusion()
    if not uses_parts:
        return WholeTransform(channels, fusion.bottleneck, fusion.norm, residual=fusion.residual)
    options = FusionOptions(
        channels,
        count,
        fusion.bottleneck,
        fusion.norm,
        residual=fusion.residual,
        last_rab=fusion.last == "rab",
        concat_relu=fusion.concat_relu,
    )
    made = registry.fusion.call(fusion.name, options)
    if not isinstance(made, nn.Module):
        raise UsageError(f"model.fusion.name={fusion.name}: not a module, but a {kind_of(made)}")
    return made


def _build_positions(config: ModelConfig) -> PartPositions | None:
    places = config.parts.places
    told = config.parts.mode == "placed" and places.told
    return PartPositions(config.neck.channels, places.width) if told else None


def _build_pooler(config: ModelConfig, positions: PartPositions | None = None) -> RegionPooler:
    heads, conventions = config.heads, CONVENTIONS[config.conventions]
    return RegionPooler(
        FPN.strides[:4],
        heads.sampling_ratio,
        config.parts.level,
        heads.canonical_size,
        aligned=conventions.aligned,
        level_eps=conventions.level_eps,
        positions=positions,
    )


def _build_box_pooler(config: ModelConfig, pooler: RegionPooler) -> RegionPooler | DeformablePooler:
    if config.parts.mode != "pooling":
        return pooler
    return DeformablePooler(pooler, config.neck.channels, config.heads.box_pool)


def _build_stage(
    config: ModelConfig, index: int, pooler: RegionPooler, num_classes: int, *, with_masks: bool
) -> Stage:
    heads, cascade, channels = config.heads, config.cascade, config.neck.channels
    uses_parts = config.parts.mode in PARTS and index + 1 in cascade.part_stages
    masks = with_masks and index + 1 in cascade.mask_stages
    mask_head = mask_iou_head = None
    if masks:
        mask_head = MaskHead(channels, heads.mask_channels, heads.mask_convs, num_classes, heads.norm)
        if heads.mask_iou:
            mask_iou_head = MaskIoUHead(
                channels,
                heads.mask_pool,
                heads.mask_iou_channels,
                heads.mask_iou_dim,
                num_classes,
                norm=heads.norm,
                mask_grad=heads.mask_iou_grad,
            )
    return Stage(
        box_pooler=_build_box_pooler(config, pooler),
        fusion=_build_fusion(config, uses_parts=uses_parts),
        box_head=BoxHead(
            channels,
            heads.box_pool,
            heads.box_dim,
            num_classes,
            class_agnostic=cascade.class_agnostic_box,
            num_fcs=heads.box_fcs,
            num_convs=heads.box_convs,
            norm=heads.norm,
        ),
        mask_head=mask_head,
        mask_iou_head=mask_iou_head,
        mask_iou_loss=heads.mask_iou_loss,
        uses_parts=uses_parts,
        part_losses=uses_parts and config.parts.losses,
        iou_thresh=cascade.ious[index],
        box_weights=cascade.box_weights[index],
    )


def _build_roi_heads(config: ModelConfig, num_classes: int, *, with_masks: bool) -> RoIHeads:
    heads, cascade, conventions = config.heads, config.cascade, CONVENTIONS[config.conventions]
    num_stages = len(cascade.ious)
    if cascade.mask_grad_scale == "auto":
        raise ValueError("expected a settled config (config.settle), but mask_grad_scale is on 'auto'")
    if num_stages > 1 and not cascade.class_agnostic_box:
        raise UsageError("model.cascade.class_agnostic_box=false needs a single stage")
    pooler = _build_pooler(config, _build_positions(config))
    return RoIHeads(
        [_build_stage(config, i, pooler, num_classes, with_masks=with_masks) for i in range(num_stages)],
        _build_parts(config, num_classes),
        pooler=pooler,
        sampler=RoISampler(
            num_classes=num_classes,
            rois_per_image=config.sampling.rois_per_image,
            positive_fraction=config.sampling.positive_fraction,
            bg_iou_low=config.sampling.bg_iou_low,
            bg_from_empty=config.sampling.bg_from_empty,
            mask_rois_per_image=config.sampling.mask_rois_per_image,
            aligned=conventions.aligned,
            soft_masks=conventions.soft_mask_targets,
        ),
        selector=DetectionSelector(
            num_classes=num_classes,
            score_thresh=config.test.score_thresh,
            nms_iou=config.test.nms_iou,
            detections_per_image=config.test.detections_per_image,
            min_size=conventions.min_detection,
        ),
        num_classes=num_classes,
        box_pool=heads.box_pool,
        mask_pool=heads.mask_pool,
        refeed=config.parts.refeed,
        mask_lookup=config.parts.mask_lookup and config.parts.mode == "deformable",  # others look nowhere
        average_masks=cascade.average_masks,
        feature_grad_scale=cascade.feature_grad_scale,
        mask_grad_scale=cascade.mask_grad_scale,
        smooth_l1_beta=heads.smooth_l1_beta,
    )
