"""Which convolutions a norm alone reads: by what flows, not by where they stand."""

import copy

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.model.folded_norms import is_frozen_norm
from dprd_cli.model.norm_flow import foldable_pairs


class Block(nn.Module):
    """A convolution and a norm, and a rule of how they are used."""

    def __init__(self, run, conv=None):
        super().__init__()
        self.norm = FrozenBatchNorm2d(3)  # it stands before the convolution
        self.conv = conv or nn.Conv2d(3, 3, 1, bias=False)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def pairs(network, size=(8, 8)):
    return foldable_pairs(network, size, is_frozen_norm)


@pytest.mark.parametrize(
    "run",
    [
        lambda block, x: block.norm(block.conv(x)),
        lambda block, x: block.norm(block.conv(x)).relu_() + x,
        lambda block, x: [x, {"feature": block.norm(block.conv(x))}],
    ],
    ids=["row", "skip", "nested"],
)
def test_what_a_norm_alone_reads_is_a_pair(run):
    assert pairs(nn.Sequential(Block(run))) == [("0.conv", "0.norm")]


def reads_too(block, x):
    between = block.conv(x)
    return block.norm(between) + between


def reads_a_part(block, x):
    between = block.conv(x)
    return block.norm(between) + between.mean(dim=(2, 3), keepdim=True)


def gives_as_a_feature(block, x):
    between = block.conv(x)
    return [between, block.norm(between)]


def changes_it_before(block, x):
    return block.norm(block.conv(x).relu_())


def runs_the_norm_twice(block, x):
    return block.norm(block.norm(block.conv(x)))


def runs_the_convolution_twice(block, x):
    return block.norm(block.conv(block.conv(x)))


def looks_at_values(block, x):
    return block.norm(block.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize(
    "run",
    [
        reads_too,
        reads_a_part,
        gives_as_a_feature,
        changes_it_before,
        runs_the_norm_twice,
        runs_the_convolution_twice,
        looks_at_values,
    ],
)
def test_what_something_else_reads_or_changes_is_none(run):
    assert pairs(Block(run)) == []


class Same(nn.Conv2d):
    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 3, 1),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect", bias=False),
        Same(3, 3, 2, bias=False),
    ],
    ids=["bias", "padding", "subclass"],
)
def test_only_a_bare_convolution_is_in_a_pair(conv):
    assert pairs(Block(lambda block, x: block.norm(block.conv(x)), conv)) == []


def test_a_network_is_not_changed_and_no_number_drawn():
    network = nn.Sequential(Block(lambda block, x: block.norm(block.conv(x)))).train()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert pairs(network)
    assert network.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
