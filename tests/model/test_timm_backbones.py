import pytest
import torch
from safetensors.torch import save_file

from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError
from dprd_cli.model.build import build_detector
from dprd_cli.model.folded_norms import FoldedConv2d, is_frozen_norm
from dprd_cli.model.timm_backbones import SimplePyramid, timm_config
from dprd_cli.weights.backbone_weights import load_backbone_weights
from networks import make_backbone

timm = pytest.importorskip("timm", reason="the extra `timm` is not installed")

NAMES = (
    "test_resnet.r160_in1k",
    "test_convnext.r160_in1k",
    "test_efficientnet.r160_in1k",
    "test_vit2.r160_in1k",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", ["frozen_bn", "bn"])
def test_features_and_weights_are_timms(name, norm, tmp_path):
    """A file of timm's whole model is loaded by its own names, and gives the features that timm gives."""
    torch.manual_seed(0)
    size = {"img_size": (64, 96)} if "vit" in name else {}
    plain = timm.create_model(name, pretrained=False, **size).eval()
    for value in plain.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.1 + 0.1 * torch.rand(value.shape))
    save_file(plain.state_dict(), tmp_path / "model.safetensors")
    overrides = [f"model.backbone.name=timm:{name}", f"model.backbone.norm={norm}"]
    detector = build_detector(resolve(preset="mask-rcnn-small", overrides=overrides).model, num_classes=2)
    if "vit" not in name:  # its position embedding is of another size, which timm alone can resample
        (line,) = load_backbone_weights(detector, str(tmp_path / "model.safetensors"))
        assert line.startswith(f"backbone timm:{name}: ")
    backbone = detector.backbone.eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = backbone(image)
        if "vit" not in name:
            theirs = plain.forward_intermediates(image, intermediates_only=True)
            torch.testing.assert_close(
                maps[-1], theirs[-1], rtol=1e-3, atol=1e-4 * theirs[-1].abs().max().item()
            )
    assert [tuple(m.shape[1:]) for m in maps] == [
        (width, 64 // stride, 96 // stride)
        for width, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "folded", "norms"), [("mobilenetv3_small_050", 34, 34), ("ghostnet_050", 62, 63)]
)
def test_convolutions_do_the_work_of_frozen_norms_that_alone_read_them(name, folded, norms):
    """GhostNet's first feature is its stem's convolution, before the norm."""
    torch.manual_seed(0)
    plain = timm.layers.freeze_batch_norm_2d(timm.create_model(name, features_only=True)).eval()
    for key, value in plain.state_dict().items():
        if key.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    backbone = make_backbone(f"timm:{name}").eval()
    assert list(backbone.body.state_dict()) == list(plain.state_dict())
    backbone.body.load_state_dict(plain.state_dict())
    convs = [module for module in backbone.modules() if isinstance(module, FoldedConv2d)]
    assert (len(convs), sum(is_frozen_norm(module) for module in plain.modules())) == (folded, norms)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(backbone.body(image), plain(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


def test_stages_are_frozen_from_the_stem_on():
    backbone = make_backbone("timm:test_convnext.r160_in1k", frozen=2)
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"stages_1", "stages_2", "stages_3"}
    assert backbone.depth_of("body.stages_3.blocks.0.gamma") == 1
    assert backbone.depth_of("body.stem_0.weight") == 5


def test_a_model_of_one_stage_cannot_be_frozen_by_stages():
    with pytest.raises(UsageError, match=r"cannot be told apart; set model\.backbone\.frozen_stages=0"):
        make_backbone("timm:test_vit2.r160_in1k", frozen=1)


def test_pyramid_of_one_map():
    pyramid = SimplePyramid(16)
    maps = pyramid(torch.randn(2, 16, 4, 6))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 16, 2, 3)]


@pytest.mark.parametrize(
    ("name", "norm", "message"),
    [
        ("test_resnett", "bn", r"timm:test_resnett: timm has no such model \(did you mean 'test_resnet"),
        ("vit_base_patch32_224", "bn", "its features have strides 32, 32, 32; 4, 8, 16 and 32 are needed"),
        ("test_resnet.r160_in1k", "gn", "timm's models have no norm=gn|keep their normalisation"),
    ],
)
def test_what_does_not_fit_is_said(name, norm, message):
    with pytest.raises(UsageError, match=message), torch.device("meta"):
        make_backbone(f"timm:{name}", norm)


def test_timm_knows_how_pixels_are_scaled():
    assert timm_config("timm:test_resnet.r160_in1k")["mean"] == (0.5, 0.5, 0.5)


def test_swin_l_builds():
    with torch.device("meta"):
        detector = build_detector(resolve(preset="cascade-dprd-swin-l").model, num_classes=80)
    assert detector.backbone.channels == (192, 384, 768, 1536)
    parameters = sum(p.numel() for p in detector.backbone.parameters())
    assert parameters == pytest.approx(195.2e6, rel=1e-3)  # 196.5 M with the classifier, less its 1.5 M
