"""The heads' short cuts give what the plain layers give, with the same gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dprd_cli.model.heads import BoxHead, MaskHead, MaskIoUHead
from dprd_cli.model.layers import MapLinear


def gradients(output, inputs):
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(output.shape, generator=generator, dtype=output.dtype)
    return torch.autograd.grad((output * weights).sum(), inputs)


@pytest.mark.parametrize("rois", [0, 1, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_layer_on_maps_is_the_fully_connected_layer_of_the_flat_map(rois, layout):
    torch.manual_seed(0)
    layer = MapLinear(6, 3, 4).double().to(memory_format=layout)
    x = torch.randn(rois, 6, 3, 3, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    inputs = [x, layer.weight, layer.bias]
    plain, quick = F.linear(x.flatten(1), layer.weight.flatten(1), layer.bias), layer(x)
    torch.testing.assert_close(quick, plain)
    for a, b in zip(gradients(quick, inputs), gradients(plain, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_the_box_head_embeds_in_channel_row_column_order():
    torch.manual_seed(0)
    head = BoxHead(6, 3, 8, 2, class_agnostic=True)
    x = torch.randn(4, 6, 3, 3).contiguous(memory_format=torch.channels_last)
    first, second = head.fcs
    flat = F.linear(x.flatten(1), first.state_dict()["weight"], first.bias)
    expected = F.relu(second(F.relu(flat)))
    torch.testing.assert_close(head.embed(x), expected)


@pytest.mark.parametrize("rois", [0, 3])
def test_a_mask_is_the_predicted_class_s_of_all_classes_masks(rois):
    torch.manual_seed(0)
    head = MaskHead(4, 8, 1, 5).double()
    nn.init.normal_(head.masks.weight)
    nn.init.normal_(head.masks.bias)
    x = torch.randn(rois, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([4, 0, 4])[:rois]
    every = head.masks(F.relu(head.deconv(head.convs(x))))
    plain, quick = every[torch.arange(rois), labels], head(x, labels)
    assert quick.shape == (rois, 12, 12)
    torch.testing.assert_close(quick, plain)
    inputs = [x, *head.parameters()]
    for a, b in zip(gradients(quick, inputs), gradients(plain, inputs), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("mask_grad", [True, False])
def test_the_mask_enters_the_mask_iou_head_with_its_gradient(mask_grad):
    torch.manual_seed(0)
    head = MaskIoUHead(4, 6, 8, 8, 5, mask_grad=mask_grad)
    logits = torch.randn(3, 12, 12, requires_grad=True)
    head(torch.rand(3, 4, 6, 6), logits, torch.tensor([0, 1, 4])).sum().backward()
    assert (logits.grad is not None and bool(logits.grad.any())) is mask_grad
