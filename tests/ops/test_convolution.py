"""Convolutions that go another way, against the plain ones."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dprd_cli.ops.convolution import activated_conv2d, conv2d


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


@pytest.mark.parametrize("narrow_input", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (5, 2), (7, 1)])
def test_depthwise_gradients_in_bfloat16_are_those_in_float32_rounded(kernel, stride, biased, narrow_input):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 9, 11).bfloat16().to(memory_format=torch.channels_last)
    leaves = [x if narrow_input else x.float(), torch.randn(6, 1, kernel, kernel).bfloat16().float()]
    leaves += [torch.randn(6)] if biased else []
    for leaf in leaves:
        leaf.requires_grad_()
    steps = {"stride": (stride, stride), "padding": (kernel // 2, kernel // 2), "groups": 6}
    bias = leaves[2] if biased else None
    with torch.autocast("cpu", torch.bfloat16):
        ours = conv2d(leaves[0], leaves[1], bias, **steps)
        plain = F.conv2d(leaves[0], leaves[1], bias, **steps)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, plain)
    wide = F.conv2d(leaves[0].float(), leaves[1], bias, **steps)
    towards = torch.randn(ours.shape).bfloat16()
    with Calls() as calls:
        first = torch.autograd.grad(ours, leaves, towards)
    assert calls.names.count("convolution_backward") == 1
    for leaf, got, expected in zip(
        leaves, first, torch.autograd.grad(wide, leaves, towards.float()), strict=True
    ):
        assert got.dtype == leaf.dtype
        torch.testing.assert_close(got, expected.to(leaf.dtype))


def test_other_convolutions_and_other_types_keep_the_plain_gradient():
    torch.manual_seed(0)
    x, usual = torch.randn(2, 6, 9, 11, requires_grad=True), {"padding": (1, 1)}
    for groups, stride, narrow in ((6, 1, True), (2, 2, True), (6, 2, False)):
        weight = torch.randn(6, 6 // groups, 3, 3)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            out = conv2d(x, weight, None, stride=(stride, stride), groups=groups, **usual)
        assert out.grad_fn.name() == "ConvolutionBackward0"


def plainly(x, weight, bias, activation, added, **settings):
    out = F.conv2d(x, weight, bias, **settings)
    out = out if added is None else out + added
    return {"none": out, "relu": out.relu(), "relu6": F.relu6(out)}[activation]


class Calls(TorchDispatchMode):
    """Notes the names of the operators that are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (3, 1)])
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_sums_and_activations_are_the_plain_ones(
    dtype, layout, groups, kernel, stride, activation, adds, biased
):
    """In bfloat16 to one rounding: a sum is rounded once, not twice."""
    torch.manual_seed(0)
    x = 3 * torch.randn(2, 16, 9, 6).to(dtype).contiguous(memory_format=layout)
    weight = torch.randn(24, 16 // groups, kernel, kernel).to(dtype).contiguous(memory_format=layout)
    bias = torch.randn(24).to(dtype) if biased else None
    settings = {"stride": (stride,) * 2, "padding": (kernel // 2,) * 2, "groups": groups}
    with torch.no_grad():
        added = torch.randn_like(F.conv2d(x, weight, bias, **settings)) if adds else None
        kept = None if added is None else added.clone()
        with Calls() as calls:
            ours = activated_conv2d(x, weight, bias, activation, added, **settings)
        expected = plainly(x, weight, bias, activation, added, **settings)
    if adds and (groups > 1 or activation == "relu6" or layout != torch.channels_last):
        assert "_convolution_pointwise" not in calls.names
    else:
        assert calls.names == ["_convolution_pointwise"]  # nothing before or behind it
    assert ours.dtype == dtype
    assert ours.is_contiguous(memory_format=layout)
    assert added is None or torch.equal(added, kept)
    near = (1e-5, 1e-4) if dtype == torch.float32 else (2**-7, 0.07)
    torch.testing.assert_close(ours, expected, rtol=near[0], atol=near[1])


def test_with_gradient_and_without_images_it_is_the_plain_convolution():
    x, weight = torch.randn(2, 4, 5, 5), torch.randn(4, 4, 1, 1, requires_grad=True)
    with Calls() as calls:
        activated_conv2d(x, weight, None, "relu", x).sum().backward()
    assert "_convolution_pointwise" not in calls.names
    expected = torch.autograd.grad(plainly(x, weight, None, "relu", x).sum(), weight)[0]
    torch.testing.assert_close(weight.grad, expected)
    with torch.no_grad():
        assert activated_conv2d(x[:0], weight, None, "relu").shape == (0, 4, 5, 5)
