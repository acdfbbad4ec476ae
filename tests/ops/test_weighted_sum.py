"""Weighted bags: the plain form by hand, and the CUDA kernel against it."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from dprd_cli.ops.weighted_sum import weighted_bags

# Sums of the kernel against the plain form's, in one process of its own: Triton's interpreter needs no GPU,
# but must be chosen before it is imported.
CHECK = """
import torch
from dprd_cli.ops.weighted_sum_triton import Bags
from dprd_cli.ops.weighted_sum import weighted_bags
device = "cuda" if torch.cuda.is_available() else "cpu"
for channels, width, dtype, tolerance in ((5, 4, torch.float32, 1e-5), (64, 16, torch.bfloat16, 5e-2)):
    torch.manual_seed(0)
    table = torch.randn(30, channels).to(device, dtype)
    rows, weights = torch.randint(0, 30, (20, width)).to(device), torch.rand(20, width).to(device)
    grad = torch.randn(20, channels).to(device)
    answers = []
    for function, wide in ((Bags.apply, table), (weighted_bags, table.double())):
        leaves = wide.clone().requires_grad_(), weights.clone().requires_grad_()
        pooled = function(leaves[0], rows, leaves[1])
        grads = torch.autograd.grad((pooled.double() * grad.to(dtype).double()).sum(), leaves)
        answers.append((pooled, *grads))
    for ours, plain in zip(*answers):
        torch.testing.assert_close(ours.double(), plain.double(), rtol=tolerance, atol=tolerance)
    leaf = table.clone().requires_grad_()
    Bags.apply(leaf, rows, weights).sum().backward()
    assert leaf.grad.dtype == dtype
print("equal")
"""


def test_a_bag_is_the_weighted_sum_of_its_rows():
    table = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], requires_grad=True)
    weights = torch.tensor([[0.5, 0.25], [1.0, 1.0]], requires_grad=True)
    pooled = weighted_bags(table, torch.tensor([[0, 1], [2, 2]]), weights)
    assert pooled.tolist() == [[3.0, 6.0], [200.0, 400.0]]
    pooled[:, 0].sum().backward()
    assert table.grad.tolist() == [[0.5, 0], [0.25, 0], [2, 0]]
    assert weights.grad.tolist() == [[1, 10], [100, 100]]


def test_bags_of_different_widths():
    table = torch.tensor([[1.0], [10.0]])
    pooled = weighted_bags(
        table, torch.tensor([0, 0, 1]), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 1])
    )
    assert pooled.tolist() == [[1.0], [32.0]]


def test_half_precision_tables_keep_full_weights_and_sums():
    # 1 + 2^-8 is no bfloat16: neither as a weight nor as a partial sum
    table = torch.tensor([[256.0], [1.0]], dtype=torch.bfloat16)
    weights = torch.tensor([[1.0, 1.0, -1.0], [1 + 2**-8, 0, 0]], requires_grad=True)
    pooled = weighted_bags(table, torch.tensor([[0, 1, 0], [0, 0, 0]]), weights)
    assert pooled.dtype == torch.bfloat16
    assert pooled[0].item() == 1.0
    assert pooled[1].item() == torch.tensor(257.0).bfloat16().item()
    pooled.float().sum().backward()
    assert weights.grad.dtype == torch.float32


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
def test_the_kernel_gives_the_plain_form_s_sums_and_gradients():
    mode = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=os.environ | mode, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "equal\n", done.stderr
