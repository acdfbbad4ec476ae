import pytest
import torch

from dprd_cli.config.presets import PRESETS, resolve
from dprd_cli.model.build import build_detector
from dprd_cli.model.cost import count_macs, count_parameters
from dprd_cli.model.neck import FPN, BiFPN, FusionNode, PANet
from dprd_cli.structures.detections import Target
from paths import TINY

CHANNELS = (6, 8, 10, 12)
NECKS = {"fpn": FPN, "panet": PANet, "bifpn": BiFPN}

necks = pytest.mark.parametrize("name", NECKS)


def make_features(height: int, width: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, height // s, width // s, generator=generator).contiguous(
            memory_format=torch.channels_last
        )
        for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


# C5 is 1x1, 3x5 or 4x6 cells: P6 then has half of them, rounded up
@necks
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (128, 192)])
@pytest.mark.parametrize("norm", ["none", "bn", "gn"])
def test_shapes_and_channels_last(name: str, size: tuple[int, int], norm: str):
    neck = NECKS[name](CHANNELS, 16, norm).to(memory_format=torch.channels_last).eval()
    features = make_features(*size)
    outputs = neck(features)
    expected = [tuple(f.shape[-2:]) for f in features]
    expected.append(tuple(-(-side // 2) for side in expected[-1]))
    assert [tuple(p.shape[-2:]) for p in outputs] == expected
    assert all(p.shape[:2] == (2, 16) and p.isfinite().all() for p in outputs)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in outputs)


def test_panet_with_a_silent_path_is_fpn():
    torch.manual_seed(0)
    fpn, panet = FPN(CHANNELS, 4), PANet(CHANNELS, 4)
    # PANet holds FPN's tensors under FPN's names
    assert panet.load_state_dict(fpn.state_dict(), strict=False).unexpected_keys == []
    for down, merge in zip(panet.down, panet.merge, strict=True):
        torch.nn.init.zeros_(down[0].weight)
        torch.nn.init.dirac_(merge[0].weight)  # passes its input on, into the ReLU
    features = make_features(96, 160)
    plain, augmented = fpn(features), panet(features)
    assert torch.equal(augmented[0], plain[0])
    for ours, theirs in zip(augmented[1:], plain[1:], strict=True):
        torch.testing.assert_close(ours, theirs.relu())


def test_panet_by_hand():
    # One channel of constants: lateral weights 1, outputs 1 at the kernel's centre, so that
    # P5 = 1, P4 = 2, P3 = 3, P2 = 4 (each adds 1 to the level above)
    panet = PANet((1, 1, 1, 1), 1)
    for conv in panet.lateral:
        torch.nn.init.ones_(conv.weight)
    for conv in [*panet.output, *(m[0] for m in panet.merge), *(d[0] for d in panet.down)]:
        torch.nn.init.dirac_(conv.weight)
    ones = [torch.ones(1, 1, side, side) for side in (16, 8, 4, 2)]
    # N2 = 4, N3 = 4 + 3 = 7, N4 = 7 + 2 = 9, N5 = 9 + 1 = 10 = N6
    for output, value in zip(panet(ones), (4.0, 7.0, 9.0, 10.0, 10.0), strict=True):
        assert torch.equal(output, torch.full_like(output, value))


def test_fusion_weights_by_hand():
    node = FusionNode(3, 1, "none")
    with torch.no_grad():
        node.weights.copy_(torch.tensor([3.0, -2.0, 1.0]))
    features = [torch.full((1, 1, 2, 2), value) for value in (1.0, 100.0, 9.0)]
    # relu: 3, 0, 1; (3*1 + 0*100 + 1*9) / (3 + 0 + 1 + 1e-4) = 12 / 4.0001 = 2.99993
    torch.testing.assert_close(node.fuse(*features), torch.full((1, 1, 2, 2), 12 / 4.0001))


def test_equal_fusion_weights_take_the_mean():
    node = FusionNode(2, 3, "none")
    a, b = torch.randn(2, 1, 3, 4, 4).unbind(0)
    torch.testing.assert_close(node.fuse(a, b), (a + b) / 2.0001)


def test_bifpn_carries_every_input_to_every_level():
    torch.manual_seed(0)
    neck = BiFPN(CHANNELS, 8, repeats=1)
    features = [f.requires_grad_() for f in make_features(64, 64)]
    for output in neck(features):
        gradients = torch.autograd.grad(output.square().sum(), features, retain_graph=True)
        assert all(g.abs().sum() > 0 for g in gradients)


def test_bifpn_weights_that_close_the_path_down_leave_the_finest_level_alone():
    torch.manual_seed(0)
    neck = BiFPN(CHANNELS, 8, repeats=2)
    for layer in neck.layers:
        with torch.no_grad():
            layer.down[0].weights[1] = 0  # P2 takes nothing from above
    features = [f.requires_grad_() for f in make_features(64, 64)]
    gradients = torch.autograd.grad(neck(features)[0].sum(), features)
    assert [bool(g.abs().sum() > 0) for g in gradients] == [True, False, False, False]


@pytest.mark.parametrize("norm", ["none", "bn", "gn"])
def test_bifpn_keeps_the_scale_of_its_input(norm: str):
    torch.manual_seed(0)
    neck = BiFPN(CHANNELS, 64, norm)
    for output in neck(make_features(128, 128)):
        assert 0.1 < output.square().mean().sqrt() < 2


def test_repeats():
    counts = [sum(p.numel() for p in BiFPN(CHANNELS, 16, "gn", n).parameters()) for n in (1, 2, 3)]
    # A layer of 5 levels has 8 nodes: 3x3 depthwise 9*16, 1x1 16*16, GroupNorm 2*16; and
    # 4*2 + 3*3 + 2 fusion weights
    layer = 8 * (9 * 16 + 16 * 16 + 2 * 16) + 19
    assert [counts[1] - counts[0], counts[2] - counts[1]] == [layer, layer]


@necks
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_with_every_neck(name: str, preset: str):
    overrides = [f"model.neck.name={name}", "model.backbone.name=r50"]
    with torch.device("meta"):
        detector = build_detector(resolve(preset=preset, overrides=overrides).model, num_classes=5)
    assert type(detector.neck) is NECKS[name]


def test_costs_of_the_necks():
    parameters, macs = {}, {}
    for name in NECKS:
        config = resolve(preset="mask-rcnn-small", overrides=[f"model.neck.name={name}"]).model
        with torch.device("meta"):
            detector = build_detector(config, num_classes=5)
        parameters[name] = count_parameters(detector).modules["neck"]
        macs[name] = count_macs(detector, (64, 64)).modules["neck"]
    # PANet adds six 3x3 convolutions of 64 channels with a bias, at 8x8, 4x4 and 2x2 cells twice each
    assert parameters["panet"] - parameters["fpn"] == 6 * (9 * 64 * 64 + 64)
    assert macs["panet"] - macs["fpn"] == 9 * 64 * 64 * 2 * (64 + 16 + 4)
    assert 0 < macs["bifpn"] < macs["fpn"]


@necks
@pytest.mark.parametrize("norm", ["none", "gn"])
def test_a_training_step_changes_every_neck_parameter(name: str, norm: str):
    torch.manual_seed(0)
    overrides = [f"model.neck.name={name}", f"model.neck.norm={norm}", "model.rpn.anchors_per_image=2048"]
    detector = build_detector(resolve(config_file=TINY, overrides=overrides).model, num_classes=3)
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 5:30, 5:40] = masks[1, 20:60, 30:60] = True
    boxes = torch.tensor([[5.0, 5, 40, 30], [30, 20, 60, 60]])
    target = Target(boxes, torch.tensor([0, 2]), (64, 64), masks)
    sum(detector([image, image], [target, target]).losses.values()).backward()
    for key, parameter in detector.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert not key.startswith("neck.") or parameter.grad.abs().sum() > 0, key
