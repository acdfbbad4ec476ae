import copy

import pytest
import torch
import torchvision.models as tvm
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.model.backbone import build_backbone


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
    backbone = build_backbone(name, "frozen_bn", 0)
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
    backbone = build_backbone("r18", "frozen_bn", 0)
    twin = copy.deepcopy(backbone)
    twin.body.bn1.weight.zero_()
    image = torch.rand(1, 3, 32, 32)
    assert twin.body.conv1.norm[0] is twin.body.bn1
    assert twin.body.conv1(image).abs().max() == 0
    assert backbone.body.conv1(image).abs().max() > 0


def test_the_stride_can_be_in_the_first_convolution():
    block = build_backbone("r50", "frozen_bn", 0, stride_in_1x1=True).body.layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.downsample[0].stride) == ((2, 2), (1, 1), (2, 2))
    block = build_backbone("r50", "frozen_bn", 0).body.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))
