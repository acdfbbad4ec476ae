"""Checkpoints to export, images to compare on, and what exported files say of themselves."""

import json

import torch

from dprd_cli.config.presets import resolve
from dprd_cli.export.write import METADATA
from dprd_cli.model.build import build_detector
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import DATA, ROOT

SMALL = (
    "model.neck.channels=16",
    "model.rpn.post_nms_test=20",
    "model.test.detections_per_image=8",
    "data.test_min_size=128",
    "data.max_size=224",
)
PRESETS = ("mask-rcnn", "cascade-mrcnn", "dprd", "cascade-dprd")


def save_model(path, preset, *more):
    torch.manual_seed(0)
    config = resolve(preset=f"{preset}-small", overrides=(*SMALL, *more))
    detector = build_detector(config.model, num_classes=3)
    for stage in detector.roi_heads.cascade:  # otherwise all scores are alike
        torch.nn.init.normal_(stage.box_head.classes.weight, std=0.3)
    content = {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog", "house"],
        "category_ids": [3, 7, 9],
        "with_masks": True,
        "model": detector.state_dict(),
        "step": 7,
    }
    save_checkpoint(path, content)
    return str(path)


def photographs():
    """Return two real photographs, or, where there are none, images of the built-in data."""
    found = [
        path for folder in ("coco", "pennfudan") for path in sorted((DATA / folder / "images").glob("*"))[:1]
    ]
    return [str(path) for path in found or sorted((ROOT / "assets" / "images").glob("*.png"))[:2]]


def read_metadata(file):
    """Return what an exported file says of itself, as docs/export.md says that it is read."""
    if file.suffix == ".onnx":
        import onnx

        properties = {p.key: p.value for p in onnx.load(file, load_external_data=False).metadata_props}
        return json.loads(properties[METADATA])
    extra = {METADATA: ""}
    torch.export.load(file, extra_files=extra)
    return json.loads(extra[METADATA])
