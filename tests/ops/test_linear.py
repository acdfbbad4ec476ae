"""Layers on whole maps, by each of their ways, against the plain product of the flat map."""

import pytest
import torch
import torch.nn.functional as F

from dprd_cli.ops import linear
from dprd_cli.ops.linear import map_linear


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("maps", [0, 1, 20])
def test_values_and_gradients_are_those_of_the_flat_map(monkeypatch, slow, layout, maps):
    monkeypatch.setattr(linear, "has_slow_products", lambda: slow)
    torch.manual_seed(0)
    x = torch.randn(maps, 6, 3, 3).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(4, 6, 3, 3).contiguous(memory_format=layout).requires_grad_()
    bias = torch.randn(4, requires_grad=True)
    ours, plain = map_linear(x, weight, bias), F.linear(x.flatten(1), weight.flatten(1), bias)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    towards = torch.randn(maps, 4)
    first, second = (torch.autograd.grad(y, (x, weight, bias), towards) for y in (ours, plain))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("slow", [False, True])
def test_it_is_a_convolution_where_that_is_faster(monkeypatch, slow):
    monkeypatch.setattr(linear, "has_slow_products", lambda: slow)
    x, weight = torch.randn(3, 2, 2, 2, requires_grad=True), torch.randn(5, 2, 2, 2)
    called = []
    plain = F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda *args: called.append(args) or plain(*args))
    map_linear(x, weight, None)
    assert len(called) == slow
    with torch.autocast("cpu", torch.bfloat16):  # whose products are fast
        map_linear(x, weight, None)
    assert len(called) == slow
    with torch.no_grad():
        map_linear(x, weight, None)
    assert len(called) == slow + 1
