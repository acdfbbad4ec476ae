"""Published weights, as data: where they are, and the network that each of them belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, MaskRCNN_ResNet50_FPN_Weights

from dprd_cli.data.coco_classes import COCO_CLASSES, COCO_CLASSES_WITH_GAPS
from dprd_cli.errors import UsageError, did_you_mean

Keys = Literal["torchvision", "detectron2", "caffe2"]

_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/"


# ---- what the frameworks' networks are in this project's configuration ------------------------------------

#: torchvision's `maskrcnn_resnet50_fpn`.
TORCHVISION: dict[str, Any] = {
    "backbone": {"name": "r50", "norm": "frozen_bn"},
    "rpn": {"smooth_l1_beta": 1 / 9, "post_nms_train": 2000},
    "heads": {"smooth_l1_beta": 1 / 9},
    "conventions": "torchvision",
}
#: torchvision's `maskrcnn_resnet50_fpn_v2`: BatchNorm everywhere, deeper RPN and box head.
TORCHVISION_V2: dict[str, Any] = {
    **TORCHVISION,
    "backbone": {"name": "r50", "norm": "bn"},
    "neck": {"norm": "bn"},
    "rpn": {**TORCHVISION["rpn"], "convs": 2},
    "heads": {**TORCHVISION["heads"], "norm": "bn", "box_convs": 4, "box_fcs": 1},
}
#: Caffe's ResNets (MSRA's weights): the stride in the 1x1 convolution, and pixels that are not scaled.
CAFFE: dict[str, Any] = {
    "backbone": {"norm": "frozen_bn", "stride_in_1x1": True},
    "pixel_std": [1.0, 1.0, 1.0],
}
#: FAIR's ResNeXt: the stride in the 3x3 convolution, and pixels scaled. The order is R, G, B.
RESNEXT: dict[str, Any] = {
    "backbone": {"name": "x101", "norm": "frozen_bn", "stride_in_1x1": False},
    "pixel_std": [58.395, 57.12, 57.375],
}
#: What Detectron2's detectors add to their backbone.
DETECTRON2_HEADS: dict[str, Any] = {"heads": {"sampling_ratio": 0}}


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A file of published weights.

    Attributes:
        url: Where it is.
        keys: Whose names its tensors have.
        preset: The preset it belongs to, or empty for a backbone.
        model: Overrides of `ModelConfig` on top of the preset.
        sha256: Start of the file's SHA-256, or empty where the publisher gives none.
        classes: Category id -> name, of a detector.
        norm_eps: What the weights' framework adds to the variance in frozen BatchNorm.
    """

    url: str
    keys: Keys
    preset: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    classes: dict[int, str] = field(default_factory=dict)
    norm_eps: float = 1e-5

    @property
    def file_name(self) -> str:
        """The name under which the file is kept; the zoo's own names are not unique."""
        if self.keys == "torchvision":
            return self.url.rsplit("/", 1)[1]
        return self.url.removeprefix(_DETECTRON2).replace("/", "_")

    @property
    def backbone(self) -> str:
        """Name of the network's backbone."""
        return str(self.model["backbone"].get("name", "r50"))

    def to_json(self) -> dict[str, str]:
        """Return what it is and where, without the tables that it is translated by."""
        return {
            "preset": self.preset,
            "backbone": self.backbone,
            "url": self.url,
            "file": self.file_name,
            "sha256": self.sha256,
        }


def detectron2_model(backbone: str) -> dict[str, Any]:
    """Return the overrides of a Detectron2 detector on `r50`, `r101` or `x101`."""
    base = RESNEXT if backbone == "x101" else CAFFE
    return {**base, "backbone": {**base["backbone"], "name": backbone}, **DETECTRON2_HEADS}


def _detectron2(path: str, preset: str, backbone: str) -> PublishedWeights:
    return PublishedWeights(
        f"{_DETECTRON2}{path}", "detectron2", preset, detectron2_model(backbone), classes=COCO_CLASSES
    )


def _caffe2(path: str, name: str, base: dict[str, Any]) -> PublishedWeights:
    return PublishedWeights(
        f"{_DETECTRON2}ImageNetPretrained/{path}",
        "caffe2",
        model={**base, "backbone": {**base["backbone"], "name": name}},
    )


#: `--weights` name -> file.
ZOO: dict[str, PublishedWeights] = {
    "torchvision:maskrcnn_resnet50_fpn": PublishedWeights(
        MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url,
        "torchvision",
        "mask-rcnn",
        TORCHVISION,
        "bf2d0c1e",
        COCO_CLASSES_WITH_GAPS,
        norm_eps=0.0,
    ),
    "torchvision:maskrcnn_resnet50_fpn_v2": PublishedWeights(
        MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1.url,
        "torchvision",
        "mask-rcnn",
        TORCHVISION_V2,
        "73cbd019",
        COCO_CLASSES_WITH_GAPS,
    ),
    **{
        f"detectron2:{name}": _detectron2(f"{name}/{file}", preset, backbone)
        for name, file, preset, backbone in (
            (
                "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
                "137260431/model_final_a54504.pkl",
                "mask-rcnn",
                "r50",
            ),
            (
                "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
                "137849600/model_final_f10217.pkl",
                "mask-rcnn",
                "r50",
            ),
            (
                "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x",
                "138205316/model_final_a3ec72.pkl",
                "mask-rcnn",
                "r101",
            ),
            (
                "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x",
                "139653917/model_final_2d9806.pkl",
                "mask-rcnn",
                "x101",
            ),
            (
                "Misc/cascade_mask_rcnn_R_50_FPN_1x",
                "138602847/model_final_e9d89b.pkl",
                "cascade-mrcnn",
                "r50",
            ),
            (
                "Misc/cascade_mask_rcnn_R_50_FPN_3x",
                "144998488/model_final_480dd8.pkl",
                "cascade-mrcnn",
                "r50",
            ),
        )
    },
    "detectron2:MSRA/R-50": _caffe2("MSRA/R-50.pkl", "r50", CAFFE),
    "detectron2:MSRA/R-101": _caffe2("MSRA/R-101.pkl", "r101", CAFFE),
    "detectron2:FAIR/X-101-32x8d": _caffe2("FAIR/X-101-32x8d.pkl", "x101", RESNEXT),
}


def is_published(spec: str) -> bool:
    """Whether a weights' name is meant to be one of `ZOO`."""
    return spec.startswith(("torchvision:", "detectron2:"))


def published(spec: str) -> PublishedWeights:
    """Return the published weights of that name.

    The folder in Detectron2's names may be left out, and a trailing `.yaml` is ignored.

    Raises:
        UsageError: With a suggestion, if there are none.
    """
    maker, _, name = spec.removesuffix(".yaml").partition(":")
    found = [key for key in ZOO if re.fullmatch(rf"{re.escape(maker)}:(.*/)?{re.escape(name)}", key)]
    if not found:
        near = did_you_mean(f"{maker}:{name}", ZOO)
        raise UsageError(f"no published weights '{spec}'{near}; `dprd weights list` shows them")
    return ZOO[found[0]]


def foreign_file(spec: str) -> Path | None:
    """Return the path if `spec` is a file that is not this project's by its name (`.pkl`, `.pth`)."""
    path = Path(spec)
    return path if spec and path.suffix in {".pkl", ".pth"} and path.is_file() else None
