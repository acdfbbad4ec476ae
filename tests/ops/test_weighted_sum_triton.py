"""The CUDA kernel of weighted bags against the plain form."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

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


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
def test_the_kernel_gives_the_plain_form_s_sums_and_gradients():
    mode = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=os.environ | mode, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "equal\n", done.stderr
