"""Convolutions that go another way, against the plain ones."""

import pytest
import torch
import torch.nn.functional as F

from dprd_cli.ops.convolution import conv2d


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("images", "kernel", "stride"), [(2, 1, 1), (1, 1, 1), (2, 1, 2), (2, 3, 1), (0, 1, 1)]
)
def test_values_and_gradients_are_the_plain_convolution_s(layout, images, kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(images, 8, 5, 7).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(6, 8, kernel, kernel).contiguous(memory_format=layout).requires_grad_()
    bias = torch.randn(6, requires_grad=True)
    ours = conv2d(x, weight, bias, stride=(stride, stride))
    plain = F.conv2d(x, weight, bias, (stride, stride))
    assert ours.is_contiguous(memory_format=layout) or not images
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    towards = torch.randn(plain.shape)
    first, second = (torch.autograd.grad(y, (x, weight, bias), towards) for y in (ours, plain))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)
