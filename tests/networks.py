"""Small networks and a batch for the tests of the model; on the import path of every test."""

import torch

from dprd_cli.config.model_schema import BackboneConfig, ModelConfig
from dprd_cli.config.presets import PRESETS, resolve
from dprd_cli.model.backbone import Backbone
from dprd_cli.model.build import build_backbone
from dprd_cli.structures.detections import Target

SMALL = [name for name in PRESETS if name.endswith("-small")]
SIZES = [(128, 128), (96, 120)]


def small_config(preset: str, *overrides: str) -> ModelConfig:
    quick = ("model.sampling.rois_per_image=16", "model.rpn.post_nms_train=50", "model.rpn.post_nms_test=30")
    # enough anchors that every pyramid level has some in the loss
    quick += ("model.rpn.anchors_per_image=256",)
    return resolve(preset=preset, overrides=[*quick, *overrides]).model


def make_batch(*, empty: bool = False, masks: bool = True) -> tuple[list[torch.Tensor], list[Target]]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, (3, *size), dtype=torch.uint8, generator=generator) for size in SIZES]
    full = torch.zeros((3, *SIZES[0]), dtype=torch.bool)
    full[0, 10:60, 20:70] = True
    full[1, 50:100, 60:110] = True
    full[2, 80:128, 10:40] = True
    boxes = torch.tensor([[20.0, 10, 70, 60], [60, 50, 110, 100], [10, 80, 40, 128]])
    first = Target(boxes, torch.tensor([0, 3, 5]), SIZES[0], full if masks else None)
    return images, [nothing(SIZES[0]) if empty else first, nothing(SIZES[1])]


def nothing(size: tuple[int, int]) -> Target:
    return Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), size)


def make_backbone(name: str, norm: str = "frozen_bn", frozen: int = 0, **more) -> Backbone:
    return build_backbone(BackboneConfig(name=name, norm=norm, frozen_stages=frozen, **more))


def move_parts(detector, name="bias", std=0.1):
    """Draw the part layer's biases or weights, so that parts move: far, where they choose among places."""
    layer = detector.part_layer
    if layer is not None:
        places = getattr(layer, "places", None)
        torch.nn.init.normal_(getattr(places or layer, name), std=20 * std if places else std)


def detections_of(detector, images, **options):
    detector.eval()
    return detector.detect(images, **options).detections
