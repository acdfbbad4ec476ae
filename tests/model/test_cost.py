import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.model.cost import count_macs, count_parameters


# Table 2 of the paper, in millions: D1 44, D2 46, D3 44, D4 46; Mask R-CNN is about 44
@pytest.mark.parametrize(
    ("preset", "mode", "fusion", "millions"),
    [
        ("dprd", "fixed", "concat", 44),
        ("dprd", "fixed", "rda", 46),
        ("dprd", "deformable", "concat", 44),
        ("dprd", "deformable", "rda", 46),
        ("mask-rcnn", "none", "rda", 44),
    ],
)
def test_parameters_of_table_2(preset: str, mode: str, fusion: str, millions: int):
    overrides = [f"model.parts.mode={mode}", f"model.fusion.name={fusion}"]
    config = resolve(preset=preset, overrides=overrides).model
    with torch.device("meta"):
        counts = count_parameters(build_detector(config, num_classes=80))
    without = counts.total - counts.modules["mask_iou_head"]
    assert round(without / 1e6) == millions
    assert counts.total == sum(counts.modules.values())


def test_macs_of_mask_rcnn_are_about_250_billion():
    detector = build_detector(resolve(preset="mask-rcnn").model, num_classes=80)
    macs = count_macs(detector, (800, 1216))
    assert 240e9 < macs.total < 260e9
    assert macs.total == sum(macs.modules.values())
    assert next(detector.parameters()).device.type == "cpu"  # the model itself is not touched


def test_the_part_layer_costs_its_weights_at_every_roi_that_is_decomposed():
    macs = {}
    for mode in ("fixed", "deformable"):
        with torch.device("meta"):
            config = resolve(preset="cascade-dprd", overrides=[f"model.parts.mode={mode}"]).model
            macs[mode] = count_macs(build_detector(config, num_classes=80), (64, 64), 1000, 100).modules
    # stages 1 and 3, and the final boxes; 256 channels to 3 anchors of 4 parts of 4 offsets
    assert macs["deformable"]["dpr"] == 2100 * 256 * 48
    assert macs["fixed"]["dpr"] == 0
    assert {k: v for k, v in macs["fixed"].items() if k != "dpr"} == {
        k: v for k, v in macs["deformable"].items() if k != "dpr"
    }


def test_what_is_printed_as_json():
    with torch.device("meta"):
        macs = count_macs(build_detector(resolve(preset="dprd").model, num_classes=3), (64, 64), 20, 10)
    assert macs.to_json() == {
        "total": macs.total,
        "proposals": 20,
        "detections": 10,
        "modules": macs.modules,
    }
