import copy

import pytest
import torch
import torchvision.models as tvm
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.config.backbone_names import BACKBONES
from networks import make_backbone


def randomise(module):
    """Give BatchNorm's numbers values other than 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in module.named_buffers():
        buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
        if name.endswith("bias") or name.endswith("mean"):
            buffer.sub_(1.0)


@pytest.mark.parametrize("name", ["mobilenet_v2", "r18", "r50"])
def test_folded_norms_give_torchvisions_features(name):
    """The same names of tensors, and the same numbers as convolution and BatchNorm one after the other."""
    torch.manual_seed(0)
    backbone = make_backbone(name, "frozen_bn", 0)
    constructor = {"r18": tvm.resnet18, "r50": tvm.resnet50, "mobilenet_v2": tvm.mobilenet_v2}[name]
    plain = constructor(norm_layer=FrozenBatchNorm2d)
    randomise(plain)
    reference = {k: v for k, v in plain.state_dict().items() if not k.startswith(("fc.", "classifier."))}
    backbone.body.load_state_dict(reference)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        if name == "mobilenet_v2":
            expected = plain.features(image)
        else:
            x = plain.maxpool(plain.relu(plain.bn1(plain.conv1(image))))
            expected = plain.layer4(plain.layer3(plain.layer2(plain.layer1(x))))
        torch.testing.assert_close(backbone(image)[-1], expected, rtol=1e-3, atol=1e-4 * expected.abs().max())


def test_a_copy_folds_its_own_norms():
    backbone = make_backbone("r18", "frozen_bn", 0)
    twin = copy.deepcopy(backbone)
    twin.body.bn1.weight.zero_()
    image = torch.rand(1, 3, 32, 32)
    assert twin.body.conv1.norm[0] is twin.body.bn1
    assert twin.body.conv1(image).abs().max() == 0
    assert backbone.body.conv1(image).abs().max() > 0


def test_the_stride_can_be_in_the_first_convolution():
    block = make_backbone("r50", stride_in_1x1=True).body.layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.downsample[0].stride) == ((2, 2), (1, 1), (2, 2))
    block = make_backbone("r50", "frozen_bn", 0).body.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


LARGE = ("_small", "_large", "_b", "16gf", "32gf")  # as deep as others, or only wider
FAMILIES = ("convnext_tiny", "swin_v2_t", "efficientnet_v2_s", "regnet_y_400mf")


@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.endswith(LARGE)])
def test_every_backbone_has_the_strides_and_channels_it_says(name):
    with torch.device("meta"):
        backbone = make_backbone(name, "bn")
        maps = backbone(torch.empty(1, 3, 64, 96))
    sizes = [(64 // stride, 96 // stride) for stride in backbone.strides]
    assert [tuple(feature.shape[1:]) for feature in maps] == [
        (width, *size) for width, size in zip(backbone.channels, sizes, strict=True)
    ]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("norm", ["frozen_bn", "bn"])
def test_the_last_stage_is_torchvisions(name, norm):
    """The same names of tensors and, before the feature's own normalisation, the same numbers."""
    torch.manual_seed(0)
    backbone, plain = make_backbone(name, norm).eval(), tvm.get_model(name, weights=None).eval()
    randomise(plain)
    wanted = backbone.body.state_dict()
    state = plain.state_dict()
    left = ("num_batches_tracked",) if norm == "frozen_bn" else ()
    assert all(key in wanted or key.startswith(backbone.left_out) or key.endswith(left) for key in state)
    backbone.body.load_state_dict({key: state[key] for key in wanted})
    backbone.norms = None
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        mine = backbone(image)[-1]
        if name.startswith("regnet"):
            theirs = plain.trunk_output(plain.stem(image))
        else:
            theirs = image
            for layer in plain.features[: len(backbone.body.features)]:
                theirs = layer(theirs)
        if name.startswith("swin"):
            theirs = theirs.permute(0, 3, 1, 2)
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())
