"""Which tensor of a foreign checkpoint is which of ours: tables that a reader can check line by line.

A row maps names of this project to names of a framework. `{n}` stands for a number, `{n+1}` for the number
plus one, `{x}` for a word and `{rest}` for anything. Where several rows fit, the first whose foreign tensor
exists is taken: a Mask R-CNN's only box head so feeds every stage of a cascade.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

Table = tuple[tuple[str, str], ...]

_STAGE = "roi_heads.stages.{s}."

#: Detectron2: ResNet, FPN, RPN, and the heads of `StandardROIHeads` and `CascadeROIHeads`.
DETECTRON2: Table = (
    ("backbone.body.conv1.{x}", "backbone.bottom_up.stem.conv1.{x}"),
    ("backbone.body.bn1.{x}", "backbone.bottom_up.stem.conv1.norm.{x}"),
    ("backbone.body.layer{n}.{b}.conv{c}.{x}", "backbone.bottom_up.res{n+1}.{b}.conv{c}.{x}"),
    ("backbone.body.layer{n}.{b}.bn{c}.{x}", "backbone.bottom_up.res{n+1}.{b}.conv{c}.norm.{x}"),
    ("backbone.body.layer{n}.{b}.downsample.0.{x}", "backbone.bottom_up.res{n+1}.{b}.shortcut.{x}"),
    ("backbone.body.layer{n}.{b}.downsample.1.{x}", "backbone.bottom_up.res{n+1}.{b}.shortcut.norm.{x}"),
    ("neck.lateral.{k}.{x}", "backbone.fpn_lateral{k+2}.{x}"),
    ("neck.output.{k}.{x}", "backbone.fpn_output{k+2}.{x}"),
    ("rpn.convs.0.0.{x}", "proposal_generator.rpn_head.conv.{x}"),
    ("rpn.objectness.{x}", "proposal_generator.rpn_head.objectness_logits.{x}"),
    ("rpn.deltas.{x}", "proposal_generator.rpn_head.anchor_deltas.{x}"),
    (_STAGE + "box_head.fcs.{i}.{x}", "roi_heads.box_head.{s}.fc{i+1}.{x}"),
    (_STAGE + "box_head.fcs.{i}.{x}", "roi_heads.box_head.fc{i+1}.{x}"),
    (_STAGE + "box_head.classes.{x}", "roi_heads.box_predictor.{s}.cls_score.{x}"),
    (_STAGE + "box_head.classes.{x}", "roi_heads.box_predictor.cls_score.{x}"),
    (_STAGE + "box_head.deltas.{x}", "roi_heads.box_predictor.{s}.bbox_pred.{x}"),
    (_STAGE + "box_head.deltas.{x}", "roi_heads.box_predictor.bbox_pred.{x}"),
    (_STAGE + "mask_head.convs.{i}.0.{x}", "roi_heads.mask_head.mask_fcn{i+1}.{x}"),
    (_STAGE + "mask_head.deconv.{x}", "roi_heads.mask_head.deconv.{x}"),
    (_STAGE + "mask_head.masks.{x}", "roi_heads.mask_head.predictor.{x}"),
)
#: torchvision's `maskrcnn_resnet50_fpn` (the names of its older files too) and `_v2`.
TORCHVISION: Table = (
    ("backbone.body.{rest}", "backbone.body.{rest}"),
    ("neck.lateral.{k}.{x}", "backbone.fpn.inner_blocks.{k}.0.{x}"),
    ("neck.lateral.{k}.{i}.{x}", "backbone.fpn.inner_blocks.{k}.{i}.{x}"),
    ("neck.lateral.{k}.{x}", "backbone.fpn.inner_blocks.{k}.{x}"),
    ("neck.output.{k}.{x}", "backbone.fpn.layer_blocks.{k}.0.{x}"),
    ("neck.output.{k}.{i}.{x}", "backbone.fpn.layer_blocks.{k}.{i}.{x}"),
    ("neck.output.{k}.{x}", "backbone.fpn.layer_blocks.{k}.{x}"),
    ("rpn.convs.{i}.0.{x}", "rpn.head.conv.{i}.0.{x}"),
    ("rpn.convs.0.0.{x}", "rpn.head.conv.{x}"),
    ("rpn.objectness.{x}", "rpn.head.cls_logits.{x}"),
    ("rpn.deltas.{x}", "rpn.head.bbox_pred.{x}"),
    (_STAGE + "box_head.convs.{i}.{j}.{x}", "roi_heads.box_head.{i}.{j}.{x}"),
    (_STAGE + "box_head.fcs.0.{x}", "roi_heads.box_head.5.{x}"),
    (_STAGE + "box_head.fcs.{i}.{x}", "roi_heads.box_head.fc{i+6}.{x}"),
    (_STAGE + "box_head.classes.{x}", "roi_heads.box_predictor.cls_score.{x}"),
    (_STAGE + "box_head.deltas.{x}", "roi_heads.box_predictor.bbox_pred.{x}"),
    (_STAGE + "mask_head.convs.{i}.{j}.{x}", "roi_heads.mask_head.{i}.{j}.{x}"),
    (_STAGE + "mask_head.convs.{i}.0.{x}", "roi_heads.mask_head.mask_fcn{i+1}.{x}"),
    (_STAGE + "mask_head.deconv.{x}", "roi_heads.mask_predictor.conv5_mask.{x}"),
    (_STAGE + "mask_head.masks.{x}", "roi_heads.mask_predictor.mask_fcn_logits.{x}"),
)
#: Caffe2's ImageNet backbones, as Detectron2's zoo keeps them; BatchNorm's tensors go by two sets of names.
_CAFFE2_NORM = (
    ("weight", "gamma"),
    ("weight", "s"),
    ("bias", "beta"),
    ("bias", "b"),
    ("running_mean", "running_mean"),
    ("running_mean", "rm"),
    ("running_var", "running_var"),
    ("running_var", "riv"),
)
_CAFFE2_LAYERS = (
    ("backbone.body.layer{n}.{b}.conv1", "backbone.body.layer{n}.{b}.bn1", "res{n+1}_{b}_branch2a"),
    ("backbone.body.layer{n}.{b}.conv2", "backbone.body.layer{n}.{b}.bn2", "res{n+1}_{b}_branch2b"),
    ("backbone.body.layer{n}.{b}.conv3", "backbone.body.layer{n}.{b}.bn3", "res{n+1}_{b}_branch2c"),
    (
        "backbone.body.layer{n}.{b}.downsample.0",
        "backbone.body.layer{n}.{b}.downsample.1",
        "res{n+1}_{b}_branch1",
    ),
)
CAFFE2: Table = (
    ("backbone.body.conv1.weight", "conv1_w"),
    *((f"backbone.body.bn1.{ours}", f"res_conv1_bn_{theirs}") for ours, theirs in _CAFFE2_NORM),
    *((f"{conv}.weight", f"{layer}_w") for conv, _, layer in _CAFFE2_LAYERS),
    *(
        (f"{norm}.{ours}", f"{layer}_bn_{theirs}")
        for _, norm, layer in _CAFFE2_LAYERS
        for ours, theirs in _CAFFE2_NORM
    ),
)
TABLES: dict[str, Table] = {"detectron2": DETECTRON2, "torchvision": TORCHVISION, "caffe2": CAFFE2}

#: Foreign tensors that hold nothing to learn: constants, counters, and the ImageNet classifier.
NOT_NEEDED = {
    "detectron2": r"pixel_mean|pixel_std|proposal_generator\.anchor_generator\.cell_anchors\..*|"
    r".*\.num_batches_tracked|backbone\.bottom_up\.stem\.fc\..*",
    "torchvision": r".*\.num_batches_tracked",
    "caffe2": r"(fc1000|pred)_[wb]|conv1_b|.*_momentum|lr|weight_order|model_iter",
}


@dataclass(frozen=True, slots=True)
class Translation:
    """A foreign checkpoint in this project's names.

    Attributes:
        state: Translated tensors by our names.
        origin: Foreign name of each of them.
        unused: Foreign names that no row of the table takes (those of `NOT_NEEDED` aside).
    """

    state: dict[str, Tensor]
    origin: dict[str, str]
    unused: list[str] = field(default_factory=list)


def translate(
    foreign: dict[str, Tensor], keys: str, wanted: Iterable[str], *, norm_eps: float = 1e-5
) -> Translation:
    """Give the tensors of a foreign checkpoint our names, and our order of channels and classes.

    - Detectron2 and Caffe2 read images as BGR: the first convolution's input channels are reversed.
    - torchvision's background is class 0, ours comes last; its box and mask predictors have outputs for the
      background, which nothing reads.
    - Where Caffe2's BatchNorm has no statistics left, they are a mean of 0 and a variance of 1.
    - A framework whose frozen BatchNorm adds another number to the variance than our 1e-5 gets the difference
      added to its variances.

    Args:
        foreign: Tensors by the framework's names.
        keys: A key of `TABLES`.
        wanted: Our names (of the whole detector) that are looked for.
        norm_eps: What the framework's frozen BatchNorm adds to the variance.
    """
    state: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name in wanted:
        source = next((s for s in candidates(name, TABLES[keys]) if s in foreign), None)
        if source is None:
            continue
        origin[name] = source
        state[name] = _reorder(name, foreign[source].detach(), keys)
        if name.endswith("running_var") and norm_eps != 1e-5:
            state[name] = state[name].double().add(norm_eps - 1e-5).to(state[name].dtype)
    if keys == "caffe2":
        state |= _statistics(wanted, state)
    ignored = re.compile(NOT_NEEDED[keys])
    taken = set(origin.values())
    return Translation(state, origin, [k for k in foreign if k not in taken and not ignored.fullmatch(k)])


def candidates(name: str, table: Table) -> list[str]:
    """Return the foreign names that one of ours may have, best first."""
    found = []
    for ours, theirs in table:
        if match := _pattern(ours).fullmatch(name):
            found.append(_fill(theirs, match.groupdict()))
    return found


@lru_cache
def _pattern(template: str) -> re.Pattern[str]:
    kinds = {"x": r"\w+", "rest": r".+"}
    pieces = re.split(r"\{(\w+)\}", template)
    text = re.escape(pieces[0])
    for name, after in zip(pieces[1::2], pieces[2::2], strict=True):
        text += f"(?P<{name}>{kinds.get(name, '[0-9]+')})" + re.escape(after)
    return re.compile(text)


def _fill(template: str, values: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        text = values[found[1]]
        return str(int(text) + int(found[2])) if found[2] else text

    return re.sub(r"\{(\w+)(?:\+(\d))?\}", value, template)


def _reorder(name: str, tensor: Tensor, keys: str) -> Tensor:
    """Bring channels and classes into our order; see `translate`. What has no such axis stays as it is."""
    if tensor.ndim < (2 if "conv1" in name else 1):
        return tensor
    if keys in {"detectron2", "caffe2"} and name == "backbone.body.conv1.weight":
        return tensor.flip(1)
    if keys == "torchvision":
        if ".box_head.classes." in name:
            return tensor.roll(-1, 0)
        if ".box_head.deltas." in name:
            return tensor[4:]
        if ".mask_head.masks." in name:
            return tensor[1:]
    return tensor


def _statistics(wanted: Iterable[str], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the statistics of each BatchNorm of which only scale and shift are there."""
    constants = {"running_mean": 0.0, "running_var": 1.0}
    made = {}
    for name in wanted:
        module, _, kind = name.rpartition(".")
        if kind in constants and name not in state and f"{module}.weight" in state:
            made[name] = torch.full_like(state[f"{module}.weight"], constants[kind])
    return made
