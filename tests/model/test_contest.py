import torch
from torch import nn

from dprd_cli.model.contest import AssemblyContest, enter, larger, share_won, through, variants_without


def plane(*values):
    """Make a feature of one RoI and one channel, 2 x 2. [1, 1, 2, 2]."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 2, 2)


def test_zeros_count_for_nobody():
    won = torch.tensor([True, True, False, True]).view(1, 2, 2)
    # 1, 2 and 3 are not zero, and two of them are won
    assert share_won(won, plane(1, 2, 3, 0)[0]) == 2 / 3
    assert share_won(won, plane(0, 0, 0, 0)[0]) == 0


def test_a_feature_wins_nothing_in_the_variant_without_it():
    feature = plane(1, 2, 3, 4)
    variants = variants_without(feature, 1, 2)  # all, without 0, without 1, without the whole
    assert variants.shape == (4, 1, 1, 2, 2)
    assert torch.equal(variants[[0, 1, 3]], feature.expand(3, 1, 1, 2, 2))
    assert variants[2].isneginf().all()


def test_of_two_the_larger_counts():
    # elements 0 and 3 are the first part's, 1 the second's, 2 nobody's
    met = larger(enter(plane(5, 1, 0, 2), 0, 2), enter(plane(3, 4, 0, 1), 1, 2))
    assert torch.equal(met.feature[0], plane(5, 4, 0, 2))
    torch.testing.assert_close(met.shares[0], torch.tensor([[2 / 3, 1 / 3, 0]]))
    assert torch.equal(met.feature[1], plane(3, 4, 0, 1))
    assert torch.equal(met.shares[1:3], torch.tensor([[[0.0, 1, 0]], [[1, 0, 0]]]))
    assert torch.equal(met.feature[3], met.feature[0])


def test_a_transform_keeps_the_shares():
    one = AssemblyContest(torch.randn(4, 3, 2, 5, 5), torch.rand(4, 3, 3))
    again = through(nn.Conv2d(2, 2, 3, padding=1), one)
    assert again.feature.shape == one.feature.shape
    assert again.shares is one.shares
