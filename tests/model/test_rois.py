"""Deformable RoI pooling: the "DPM" row of Table 2."""

import pytest
import torch

from dprd_cli.config.presets import PRESETS, resolve
from dprd_cli.model.build import build_detector
from dprd_cli.model.cost import count_macs, count_parameters
from dprd_cli.model.fusion import NoFusion
from dprd_cli.model.rois import DeformablePooler
from dprd_cli.ops.roi_align import FeatureTable, roi_align
from dprd_cli.structures.detections import Target
from paths import TINY

STRIDES = (4, 8)
POOLING = "model.parts.mode=pooling"

ratios = pytest.mark.parametrize("sampling_ratio", [2, 0])
frames = pytest.mark.parametrize("aligned", [True, False])


def make_detector(*overrides: str):
    torch.manual_seed(0)
    quick = ("model.rpn.anchors_per_image=256", "model.test.score_thresh=0.0")
    config = resolve(config_file=TINY, overrides=[*quick, *overrides])
    return build_detector(config.model, num_classes=3)


def make_batch(*, empty: bool = False):
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if empty:
        return [image], [Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (64, 64))]
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 5:30, 5:40] = masks[1, 20:60, 30:60] = True
    boxes = torch.tensor([[5.0, 5, 40, 30], [30, 20, 60, 60]])
    return [image], [Target(boxes, torch.tensor([0, 2]), (64, 64), masks)]


def losses_of(detector, *, empty: bool = False):
    torch.manual_seed(1)
    return detector(*make_batch(empty=empty)).losses


@ratios
@frames
def test_zero_shifts_are_plain_roi_align_bit_for_bit(sampling_ratio: int, aligned: bool):
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(2, 8, 16 // s, 24 // s, generator=generator) for s in (1, 2)]
    corner = torch.rand(30, 2, generator=generator) * 80 - 10
    boxes = torch.cat((corner, corner + torch.rand(30, 2, generator=generator) * 60), dim=1)
    index, levels = torch.arange(30) % 2, torch.arange(30) // 15
    table = FeatureTable.build(features, STRIDES)
    how = {"sampling_ratio": sampling_ratio, "aligned": aligned}
    plain = roi_align(table, boxes, index, levels, 7, **how)
    zeros = torch.zeros(30, 7, 7, 2)
    assert torch.equal(roi_align(table, boxes, index, levels, 7, **how, shifts=zeros), plain)


@ratios
def test_equal_shifts_move_the_box(sampling_ratio: int):
    feature = torch.randn(1, 3, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table, zero = FeatureTable.build([feature], (4,)), torch.zeros(1, dtype=torch.int64)
    box = torch.tensor([[20.0, 16, 50, 36]], dtype=torch.float64)
    shifts = torch.tensor([0.1, -0.2], dtype=torch.float64).expand(1, 7, 7, 2)
    # 0.1 * 30 = 3 pixels to the right, 0.2 * 20 = 4 pixels up
    moved = box + torch.tensor([3.0, -4, 3, -4], dtype=torch.float64)
    torch.testing.assert_close(
        roi_align(table, box, zero, zero, 7, sampling_ratio=sampling_ratio, shifts=shifts),
        roi_align(table, moved, zero, zero, 7, sampling_ratio=sampling_ratio),
    )


def test_one_bin_shifts_alone_by_hand():
    # A ramp in x: the value of a cell is its column, so that a bin's value is the x of its centre in cells
    feature = torch.arange(16.0).expand(1, 1, 16, 16).contiguous()
    table, zero = FeatureTable.build([feature], (1,)), torch.zeros(1, dtype=torch.int64)
    box = torch.tensor([[4.0, 4, 8, 8]])
    shifts = torch.zeros(1, 2, 2, 2)
    shifts[0, 1, 0] = torch.tensor([0.5, 0.25])  # second row, first column: 0.5 * 4 = 2 to the right
    pooled = roi_align(table, box, zero, zero, 2, shifts=shifts)
    # bins are 2 wide: centres 4 + 1 and 4 + 3, less half a cell: 4.5 and 6.5; the shifted one 4.5 + 2
    torch.testing.assert_close(pooled[0, 0], torch.tensor([[4.5, 6.5], [6.5, 6.5]]))


@ratios
@frames
def test_gradcheck_in_features_boxes_and_shifts(sampling_ratio: int, aligned: bool):
    generator = torch.Generator().manual_seed(1)
    high = torch.randn(2, 2, 6, 7, dtype=torch.float64, generator=generator).requires_grad_()
    low = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    # Coordinates keep clear of cell borders, where bilinear interpolation has a kink
    boxes = torch.tensor([[1.31, 2.17, 17.13, 15.71], [4.57, 3.31, 21.9, 18.3]], dtype=torch.float64)
    shifts = 0.1 * torch.randn(2, 3, 3, 2, dtype=torch.float64, generator=generator)
    index, levels = torch.tensor([0, 1]), torch.tensor([0, 1])

    def pool(high, low, boxes, shifts):
        table = FeatureTable.build([high, low], STRIDES)
        return roi_align(
            table, boxes, index, levels, 3, sampling_ratio=sampling_ratio, aligned=aligned, shifts=shifts
        )

    assert torch.autograd.gradcheck(pool, (high, low, boxes.requires_grad_(), shifts.requires_grad_()))


def test_no_rois_stay_connected_to_the_graph():
    feature = torch.randn(1, 3, 8, 8, requires_grad=True)
    shifts = torch.zeros((0, 7, 7, 2), requires_grad=True)
    index = torch.zeros(0, dtype=torch.int64)
    out = roi_align(FeatureTable.build([feature], (4,)), torch.zeros(0, 4), index, index, 7, shifts=shifts)
    assert out.shape == (0, 3, 7, 7)
    out.sum().backward()
    assert shifts.grad is not None


def test_gamma_scales_the_layer_by_hand():
    pooler = DeformablePooler(None, 1, 2)
    with torch.no_grad():
        pooler.layer.bias.copy_(torch.arange(8.0))
    # 0.1 * (0, 1), (2, 3) in the first row of bins, (4, 5), (6, 7) in the second
    expected = torch.tensor([[[[0.0, 0.1], [0.2, 0.3]], [[0.4, 0.5], [0.6, 0.7]]]])
    torch.testing.assert_close(pooler.shifts(torch.zeros(1, 1, 2, 2)), expected)


@pytest.mark.parametrize("preset", ["dprd-small", "cascade-dprd-small"])
def test_limit_is_the_network_without_parts_exactly(preset: str):
    preset = f"preset={preset}"
    pooling = make_detector(preset, POOLING)
    plain = make_detector(preset, "model.parts.mode=none")
    missing = plain.load_state_dict(pooling.state_dict(), strict=False)
    stages = len(pooling.roi_heads.cascade)
    assert missing.missing_keys == []
    assert missing.unexpected_keys == [
        f"roi_heads.stages.{i}.box_pooler.layer.{kind}" for i in range(stages) for kind in ("weight", "bias")
    ]
    expected, found = losses_of(plain), losses_of(pooling)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    images = make_batch()[0]
    before, after = plain.eval()(images)[0], pooling.eval()(images)[0]
    assert len(after) > 0
    assert after.part_boxes is None
    for name in ("boxes", "scores", "labels", "masks", "mask_scores"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    torch.nn.init.normal_(pooling.roi_heads.cascade[0].box_pooler.layer.bias)
    assert not torch.equal(pooling(images)[0].scores, after.scores)


def test_a_training_step_changes_every_parameter():
    detector = make_detector(POOLING)
    before = {name: p.detach().clone() for name, p in detector.named_parameters()}
    sum(losses_of(detector).values()).backward()
    assert all(p.grad.isfinite().all() for p in detector.parameters())
    torch.optim.AdamW(detector.parameters(), lr=1e-3, weight_decay=0).step()
    same = [name for name, p in detector.named_parameters() if torch.equal(p, before[name])]
    assert same == []


def test_a_batch_without_objects():
    detector = make_detector(POOLING)
    losses = losses_of(detector, empty=True)
    assert losses.keys() == losses_of(detector).keys()
    assert not any("part" in key for key in losses)
    sum(losses.values()).backward()
    assert all(stage.box_pooler.layer.weight.grad is not None for stage in detector.roi_heads.cascade)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_shifts_bins_in_every_stage(preset: str):
    with torch.device("meta"):
        detector = build_detector(
            resolve(preset=preset, overrides=[POOLING, "model.backbone.name=r18"]).model, num_classes=5
        )
    assert detector.part_layer is None
    assert detector.roi_heads.parts is None
    for stage in detector.roi_heads.cascade:
        assert isinstance(stage.box_pooler, DeformablePooler)
        assert isinstance(stage.fusion, NoFusion)
        assert not stage.part_losses


def test_costs_count_the_layer_and_the_second_pooling():
    counts, macs = {}, {}
    for mode in ("none", "pooling"):
        with torch.device("meta"):
            detector = build_detector(
                resolve(preset="dprd", overrides=[f"model.parts.mode={mode}"]).model, num_classes=80
            )
        counts[mode], macs[mode] = count_parameters(detector), count_macs(detector, (64, 64)).modules
    # 256 * 7 * 7 inputs, 2 * 7 * 7 outputs, with a bias: 1.2 M
    assert counts["pooling"].total - counts["none"].total == (256 * 49 + 1) * 98
    assert counts["pooling"].total == sum(counts["pooling"].modules.values())
    assert counts["pooling"].modules["dpr"] == (256 * 49 + 1) * 98
    assert macs["pooling"]["dpr"] == 1000 * 256 * 49 * 98
    # 4 cells for each of 2x2 samples of 49 bins of 256 channels
    assert macs["pooling"]["roi_align"] - macs["none"]["roi_align"] == 1000 * 49 * 4 * 4 * 256
