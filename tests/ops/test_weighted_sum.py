"""Weighted bags: the plain form by hand."""

import torch

from dprd_cli.ops.weighted_sum import weighted_bags


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
