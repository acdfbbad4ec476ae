"""Weighted bags: the plain form by hand."""

import pytest
import torch
import torch.nn.functional as F

from dprd_cli.ops.weighted_sum import bag_table, weighted_bags


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


@pytest.mark.parametrize("widths", [None, (2, 0, 3)])
def test_gradients_are_those_of_the_plain_operator(widths):
    generator = torch.Generator().manual_seed(0)
    table, weights = (torch.randn(size, generator=generator) for size in ((7, 6), (3, 4)))
    rows = torch.randint(0, 7, (3, 4), generator=generator)  # some twice in a bag, some in several
    offsets = None
    if widths is not None:
        rows, weights = rows.view(-1)[:5], weights.view(-1)[:5]
        offsets = torch.tensor([0, 2, 2])
    for leaf in (table, weights):
        leaf.requires_grad_()
    ours = weighted_bags(table, rows, weights, offsets)
    plain = F.embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights)
    assert torch.equal(ours, plain)
    towards = torch.randn(6, 3, generator=generator).T  # not contiguous
    first = torch.autograd.grad(ours, (table, weights), towards, retain_graph=True)
    for got, expected in zip(first, torch.autograd.grad(plain, (table, weights), towards), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    again = torch.autograd.grad(ours, (table, weights), towards)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    weights.requires_grad_(requires_grad=False)  # as of RoIs, whose boxes have no gradient
    weighted_bags(table, rows, weights, offsets).sum().backward()
    assert table.grad is not None


@pytest.mark.parametrize("graded", [False, True])
def test_sums_that_are_cast_at_once_are_those_that_are_cast_later(graded):
    """More bags than are cast at a time, and not a multiple of that."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(9, 3, generator=generator, requires_grad=graded)
    rows = torch.randint(0, 9, (20_000, 4), generator=generator)
    weights = torch.rand((20_000, 4), generator=generator)
    sums = weighted_bags(table, rows, weights, dtype=torch.bfloat16)
    assert torch.equal(sums, weighted_bags(table, rows, weights).bfloat16())


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_table_s_gradient_is_the_sum_of_its_calls():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(50, 6, generator=generator, requires_grad=True)
    weights = torch.rand(40, 4, generator=generator, requires_grad=True)
    rows = torch.randint(0, 50, (40, 4), generator=generator)
    uneven = torch.tensor([0, 3, 3, 50])  # starts of bags of different widths

    def loss(held, bags):
        sums = (bags(held, rows, weights), bags(held, rows.flatten(), weights.flatten(), uneven))
        return (sums[0] ** 2).sum() + (sums[1] ** 3).sum() + (held**2).sum()  # not by bags alone

    def plain_bags(held, rows, weights, offsets=None):
        return F.embedding_bag(rows, held, offsets, mode="sum", per_sample_weights=weights)

    expected = torch.autograd.grad(loss(table, plain_bags), (table, weights))
    ours = loss(bag_table(table), weighted_bags)
    for _ in range(2):  # the sum is of one pass, not of all
        found = torch.autograd.grad(ours, (table, weights), retain_graph=True)
        for got, right in zip(found, expected, strict=True):
            torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-4)


def test_a_pass_that_does_not_ask_for_the_table_s_gradient_leaves_nothing_to_the_next():
    table = torch.ones(3, 2, requires_grad=True)
    weights = torch.ones(2, 2, requires_grad=True)
    shared = bag_table(table)
    sums = weighted_bags(shared, torch.tensor([[0, 1], [1, 1]]), weights)
    (to_weights,) = torch.autograd.grad(sums.sum(), weights, retain_graph=True)
    assert to_weights.tolist() == [[2, 2], [2, 2]]
    sums.sum().backward()
    assert table.grad.tolist() == [[1, 1], [3, 3], [0, 0]]


def test_where_no_gradient_is_wanted_a_table_is_no_other():
    table = torch.ones(3, 2)
    assert bag_table(table) is table
    with torch.no_grad():
        assert bag_table(table.requires_grad_()) is table
