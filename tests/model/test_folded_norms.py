"""Frozen BatchNorm folded into convolutions: values, names, and what bfloat16 may not round."""

import copy

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from dprd_cli.model.folded_norms import (
    FoldedConv2d,
    FoldedNorm,
    fold_frozen_norms,
    fold_pairs,
    merge_folded_norms,
    replace_batch_norms,
)
from dprd_cli.model.layers import Conv2d, FullConv2d


def pair(groups=1):
    """Return a convolution and a frozen norm of numbers other than 0 and 1."""
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups, bias=False)
    norm = FrozenBatchNorm2d(8)
    for buffer in norm.buffers():
        buffer.copy_(0.5 + torch.rand(8))
    return nn.Sequential(conv, norm, nn.ReLU())


@pytest.mark.parametrize("groups", [1, 4])
def test_folding_and_merging_keep_names_and_values(groups):
    plain = pair(groups)
    folded = copy.deepcopy(plain)
    fold_frozen_norms(folded)
    assert [type(layer) for layer in folded] == [FoldedConv2d, FoldedNorm, nn.ReLU]
    assert list(folded.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(folded(x), plain(x))
    merged = copy.deepcopy(folded)
    merge_folded_norms(merged)
    assert [type(layer) for layer in merged] == [Conv2d, nn.Identity, nn.ReLU]
    torch.testing.assert_close(merged(x), plain(x))
    assert not any(p.requires_grad for p in merged.parameters())


class Activated(FrozenBatchNorm2d):
    """As timm's."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.PReLU(channels)

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


def test_what_a_norm_does_behind_its_numbers_stays():
    torch.manual_seed(0)
    plain = nn.ModuleDict({"norm": Activated(8), "conv": nn.Conv2d(4, 8, 1, bias=False)})
    plain["norm"].act.weight.data.uniform_()
    plain["norm"].running_mean.normal_()
    folded = copy.deepcopy(plain)
    fold_pairs(folded, [("conv", "norm")])
    assert list(folded.state_dict()) == list(plain.state_dict())
    merged = copy.deepcopy(folded)
    merge_folded_norms(merged)
    x = torch.randn(2, 4, 5, 5)
    expected = plain["norm"](plain["conv"](x))
    for network in (folded, merged):
        torch.testing.assert_close(network["norm"](network["conv"](x)), expected)


def test_folding_draws_no_random_numbers_and_keeps_the_weights():
    module = pair()
    weight, state = module[0].weight, torch.get_rng_state()
    fold_frozen_norms(module)
    assert module[0].weight is weight
    merge_folded_norms(module)
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_of_a_folded_norm_can_be_loaded_and_converted():
    module, plain = pair(), pair()
    fold_frozen_norms(module)
    module.load_state_dict({name: value + 1 for name, value in module.state_dict().items()})
    plain.load_state_dict(module.state_dict())
    x = torch.randn(1, 4, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(module.to(torch.float64)(x), plain.to(torch.float64)(x))


def test_factors_of_a_folded_norm_are_made_once_for_given_numbers():
    module = pair()
    fold_frozen_norms(module)
    norm = module[1]
    with torch.inference_mode():
        norm.factors()  # a gradient could not go through what is made there
    first = norm.factors()
    assert not first[0].is_inference()
    assert norm.factors() is first
    norm.load_state_dict({name: 2 * value for name, value in norm.state_dict().items()})
    loaded = norm.factors()
    torch.testing.assert_close(loaded[0], first[0] * 2**0.5)
    assert norm.double().factors()[0].dtype == torch.float64


def relative_error(module, x, expected):
    with torch.autocast("cpu", torch.bfloat16):
        return ((module(x).double() - expected).norm() / expected.norm()).item()


def test_where_sum_and_bias_cancel_bfloat16_does_not_round_them():
    """As in MobileNetV2: a channel that hardly varied, divided by next to nothing."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), FrozenBatchNorm2d(8))
    x = 1 + 0.01 * torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        seen = module[0](x)
    module[1].running_mean.copy_(seen.mean((0, 2, 3)))
    module[1].running_var.copy_(seen.var((0, 2, 3)))
    expected = copy.deepcopy(module).double()(x.double())
    narrow = copy.deepcopy(module)
    fold_frozen_norms(module)
    assert module[1].cancels()
    merged = copy.deepcopy(module)
    merge_folded_norms(merged)
    assert type(merged[0]) is FullConv2d
    for network in (module, merged):
        assert relative_error(network, x, expected) < 1e-3
    assert relative_error(narrow, x, expected) > 0.02  # so it would be without


def test_whether_they_cancel_is_asked_anew_of_new_numbers():
    module = pair()
    fold_frozen_norms(module)
    norm = module[1]
    assert not norm.cancels()
    with torch.autocast("cpu", torch.bfloat16):
        assert module(torch.randn(1, 4, 9, 9)).dtype == torch.bfloat16
    norm.load_state_dict({**norm.state_dict(), "bias": torch.full((8,), -20.0)})
    assert norm.cancels()


def test_other_norms_come_in_place_of_batch_norm():
    module = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    kinds = {"bn": nn.BatchNorm2d, "gn": nn.GroupNorm, "frozen_bn": FoldedNorm}
    for norm, kind in kinds.items():
        made = copy.deepcopy(module)
        replace_batch_norms(made, norm)
        assert isinstance(made[1], kind)
