"""The networks that are compared: the same weights and images in this project and in another program."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.benchmark.rule_weights import reference_image, reference_state
from dprd_cli.config.presets import PRESETS, pick, resolve
from dprd_cli.errors import UsageError
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.model.inference import for_inference
from dprd_cli.ops.masks import paste_masks
from dprd_cli.runtime.precision import autocast
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.weights.foreign import describe_file
from dprd_cli.weights.load import build_published

OURS = "dprd-cli"
PEERS = ("torchvision", "detectron2", "mask-rcnn")
_CLASSES = 80
_Result = TypeVar("_Result")
#: Part of a name -> variance of a weight times its fan-in; the first that fits. Class scores and masks come
#: out confident, boxes near their proposals, parts near their reference.
_GAINS = (
    ("cls_score", 6.0),
    ("classes", 6.0),
    ("bbox_pred", 0.1),
    ("parts.layer", 0.01),
    ("deltas", 0.1),
    ("mask_fcn_logits", 16.0),
    (".masks.", 16.0),
    ("fpn", 1.0),
    ("neck", 1.0),
    ("", 2.0),
)


class NetworkDetections(NamedTuple):
    """Detections of one image, as any of the programs gives them.

    Args:
        boxes: [D, 4]
        scores: [D]
        labels: 0..K-1. [D]
        masks: Full size, bool. [D, H, W]
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Network:
    """One program's network.

    Args:
        module: The network.
        detect: Detects in its images, masks pasted to full size.
        read: Turns what `detect` returns into `NetworkDetections`, one per image.
        losses: A forward pass in training on its images, with losses by name.
        ready: What `detect` calls, where that is not the network itself; see `for_inference`.
    """

    module: nn.Module
    detect: Callable[[], Any]
    read: Callable[[Any], list[NetworkDetections]]
    losses: Callable[[], Mapping[str, Tensor]]
    ready: Detector | None = None

    def under(self, inputs: BenchmarkImages) -> Network:
        """Return the network run in the precision asked for, by PyTorch's autocast."""
        return replace(self, detect=_within(inputs, self.detect), losses=_within(inputs, self.losses))


def _within(inputs: BenchmarkImages, call: Callable[[], _Result]) -> Callable[[], _Result]:
    def run() -> _Result:
        with autocast(inputs.device, inputs.precision):
            return call()

    return run


class NetworkPair(NamedTuple):
    """Two networks, and the detector whose multiply-accumulates each has.

    Args:
        names: What they are called.
        networks: In the precision asked for.
        detectors: In float32.
        wide: Where that is bfloat16, in float32 the other program, as it is mostly run, or the second preset.
    """

    names: tuple[str, str]
    networks: tuple[Network, Network]
    detectors: tuple[Detector, Detector]
    wide: Network | None = None

    @property
    def both_ours(self) -> bool:
        """Whether two presets are compared: with other weights, and so other answers."""
        return self.names[0] in PRESETS

    @property
    def name_of_wide(self) -> str:
        """What `wide` is called."""
        return f"{self.names[self.both_ours]} in float32"


@dataclass(frozen=True, slots=True)
class BenchmarkImages:
    """The images of a benchmark and what is in them.

    Args:
        image_size: (height, width)
        batch: Images.
        proposals: RoIs of the box branch at test.
        device: Where the networks run.
        precision: `fp32` or `bf16`.
    """

    image_size: tuple[int, int]
    batch: int
    proposals: int
    device: torch.device
    precision: str = "fp32"

    def images(self) -> list[Tensor]:
        """Return images, RGB in 0..255. N x [3, H, W]."""
        return [reference_image(*self.image_size, seed).to(self.device) for seed in range(self.batch)]

    def targets(self, objects: int = 8) -> list[Target]:
        """Return elliptic objects of random size and class in every image."""
        return [self._target(seed, objects).to(self.device) for seed in range(self.batch)]

    def _target(self, seed: int, objects: int) -> Target:
        generator = torch.Generator().manual_seed(seed)
        height, width = self.image_size
        extent = torch.tensor([width, height], dtype=torch.float32)
        corner = torch.rand((objects, 2), generator=generator) * extent * 0.6
        size = (torch.rand((objects, 2), generator=generator) * 0.35 + 0.04) * extent
        boxes = torch.cat((corner, corner + size), dim=1)
        y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        center, half = corner + size / 2, size / 2
        across = ((x - center[:, :1]) / half[:, :1]).square()[:, None]
        down = ((y - center[:, 1:]) / half[:, 1:]).square()[:, :, None]
        labels = torch.randint(0, _CLASSES, (objects,), generator=generator)
        return Target(boxes=boxes, labels=labels, image_size=self.image_size, masks=across + down <= 1)


def build_pair(against: str, preset: str, inputs: BenchmarkImages) -> NetworkPair:
    """Build a peer's network and this project's with the same weights; or two presets.

    Args:
        against: One of `PEERS`, of which `mask-rcnn` is the one of the preset's size; or another preset.
        preset: What is compared with a preset.
        inputs: What they look at.

    Raises:
        UsageError: If the peer is unknown or not installed.
    """
    pick("program to compare with", against, dict.fromkeys((*PEERS, *PRESETS)))
    narrow = inputs.precision == "bf16"
    if against in ("mask-rcnn", *PRESETS):
        suffix = next((s for s in ("-small", "-medium") if preset.endswith(s)), "")
        base = f"mask-rcnn{suffix}" if against == "mask-rcnn" else against
        names = (base, pick("preset", preset, PRESETS))
        first, second = (_own(name, inputs) for name in names)
        own = _our_network(first, inputs), _our_network(second, inputs)
        wide = _our_network(second, replace(inputs, precision="fp32")) if narrow else None
        return NetworkPair(names, own, (first, second), wide)
    module, state = (_torchvision if against == "torchvision" else _detectron2)(inputs)
    file = Path(f"{against}.pth")
    overrides: dict[str, Any] = {"rpn": {"post_nms_test": inputs.proposals}}
    if against == "detectron2":
        overrides |= {"backbone": {"stride_in_1x1": True}, "pixel_std": [1.0, 1.0, 1.0]}
    detector = build_published(describe_file(file, state), state, file, overrides).detector
    detector.to(inputs.device).to(memory_format=torch.channels_last)
    theirs = (_torchvision_network if against == "torchvision" else _detectron2_network)(module, inputs)
    networks = theirs.under(inputs), _our_network(detector, inputs)
    return NetworkPair((against, OURS), networks, (detector, detector), theirs if narrow else None)


def build_network(preset: str, inputs: BenchmarkImages) -> Network:
    """Build a preset's network with the weights that it has in a pair, to look at `inputs`."""
    return _our_network(_own(preset, inputs), inputs)


def _own(preset: str, inputs: BenchmarkImages) -> Detector:
    flags = {"model.backbone.norm": "frozen_bn", "model.backbone.frozen_stages": 2}
    flags |= {"model.rpn.post_nms_test": inputs.proposals}
    config = resolve(preset=preset, schedule="1x", flags=flags).model
    detector = build_detector(config, num_classes=_CLASSES)
    detector.load_state_dict(lively_state(detector))
    return detector.to(inputs.device)


def lively_state(module: nn.Module) -> dict[str, Tensor]:
    """Return weights that keep activations of order one and give confident, varied detections."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, old in module.state_dict().items():
        if not old.is_floating_point():
            state[name] = old
            continue
        normal = torch.randn(old.shape, generator=generator)
        gain = next(gain for part, gain in _GAINS if part in name)
        new = normal * (gain / max(old[0].numel(), 1)) ** 0.5 if old.ndim > 1 else 0.05 * normal
        if name.endswith("running_var"):
            new = 0.8 + 0.4 * torch.rand(old.shape, generator=generator)
        elif old.ndim == 1 and name.endswith("weight"):  # a norm's; the last of a residual block is small
            new = (0.1 if "bn3" in name else 0.9) + 0.1 * normal.abs()
        state[name] = new.to(old.dtype)
    return state


def _our_network(detector: Detector, inputs: BenchmarkImages) -> Network:
    images, targets = inputs.images(), inputs.targets()
    ready = for_inference(detector, inputs.precision).eval()

    def detect() -> list[tuple[Detections, Tensor]]:
        detections = ready.detect(images).detections
        return [(d, paste_masks(d.masks, d.boxes, d.image_size)) for d in detections if d.masks is not None]

    def read(results: list[tuple[Detections, Tensor]]) -> list[NetworkDetections]:
        return [NetworkDetections(d.boxes, d.scores, d.labels, masks.cpu().numpy()) for d, masks in results]

    made = Network(detector, detect, read, lambda: detector(images, targets).losses, ready)
    return made.under(inputs)


def _torchvision(inputs: BenchmarkImages) -> tuple[nn.Module, dict[str, Tensor]]:
    """Build `maskrcnn_resnet50_fpn` as it is with published weights: frozen BatchNorm, 3 stages trained."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
    )
    short, long = min(inputs.image_size), max(inputs.image_size)
    module = MaskRCNN(
        backbone, 91, min_size=short, max_size=max(1333, long), rpn_post_nms_top_n_test=inputs.proposals
    )
    module.load_state_dict(lively_state(module))
    state = module.state_dict()
    return module.to(inputs.device), {name: tensor.cpu() for name, tensor in state.items()}


def _torchvision_network(module: nn.Module, inputs: BenchmarkImages) -> Network:
    images = [image / 255 for image in inputs.images()]
    targets = [
        {"boxes": t.boxes, "labels": t.labels + 1, "masks": t.masks.to(torch.uint8)}
        for t in inputs.targets()
        if t.masks is not None
    ]

    def read(results: list[dict[str, Tensor]]) -> list[NetworkDetections]:
        return [
            NetworkDetections(
                r["boxes"], r["scores"], r["labels"] - 1, (r["masks"][:, 0] >= 0.5).cpu().numpy()
            )
            for r in results
        ]

    return Network(module, lambda: module(images), read, lambda: module(images, targets))


def _detectron2(inputs: BenchmarkImages) -> tuple[nn.Module, dict[str, Tensor]]:
    """Build Detectron2's `mask_rcnn_R_50_FPN_3x`."""
    if importlib.util.find_spec("detectron2") is None:
        raise UsageError(
            "--against detectron2: Detectron2 is not installed here; build it as its INSTALL.md says, "
            "or compare with torchvision"
        )
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    cfg = get_cfg()
    cfg.merge_from_list([item for pair in _MASK_RCNN_R50_FPN.items() for item in pair])
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = inputs.proposals
    cfg.MODEL.DEVICE = str(inputs.device)
    module = build_model(cfg)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    state = reference_state(shapes, 0, 60.0)
    module.load_state_dict(state)
    return module, state


#: What `Base-RCNN-FPN.yaml` and `mask_rcnn_R_50_FPN_3x.yaml` set.
_MASK_RCNN_R50_FPN: dict[str, Any] = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.MASK_ON": True,
    "INPUT.MASK_FORMAT": "bitmask",
}


def _detectron2_network(module: nn.Module, inputs: BenchmarkImages) -> Network:
    from detectron2.structures import BitMasks, Boxes, Instances
    from detectron2.utils.events import EventStorage

    height, width = inputs.image_size
    images = [image.flip(0) for image in inputs.images()]  # B, G, R
    batch: list[dict[str, Any]] = [{"image": image, "height": height, "width": width} for image in images]
    training = []
    for item, target in zip(batch, inputs.targets(), strict=True):
        instances = Instances((height, width))
        instances.gt_boxes, instances.gt_classes = Boxes(target.boxes), target.labels
        instances.gt_masks = BitMasks(target.masks)
        training.append({**item, "instances": instances})

    def read(results: list[dict[str, Any]]) -> list[NetworkDetections]:
        found = [result["instances"] for result in results]
        return [
            NetworkDetections(f.pred_boxes.tensor, f.scores, f.pred_classes, f.pred_masks.cpu().numpy())
            for f in found
        ]

    def losses() -> Mapping[str, Tensor]:
        with EventStorage(0):
            return dict(module(training))

    return Network(module, lambda: module(batch), read, losses)
