"""Weights in eight bits."""

import pytest
import torch

from dprd_cli.weights.packing import SCALE, pack, unpack


def test_what_is_unpacked_is_within_half_a_step_of_what_was_packed():
    torch.manual_seed(0)
    state = {"a.weight": torch.randn(5, 3, 3, 3), "a.bias": torch.randn(5), "count": torch.tensor(3)}
    packed = pack(state)
    assert packed["a.weight"].dtype == torch.int8
    assert packed["a.weight"].shape == (5, 3, 3, 3)
    assert packed["a.weight" + SCALE].shape == (3,)  # 135 values: 64, 64, 7
    found = unpack(packed)
    assert found.keys() == state.keys()
    assert torch.equal(found["a.bias"], state["a.bias"])
    assert torch.equal(found["count"], state["count"])
    for start in (0, 64, 128):
        own, again = (one["a.weight"].reshape(-1)[start : start + 64] for one in (state, found))
        assert (own - again).abs().max() <= own.abs().max() / 250


def test_numbers_worked_by_hand():
    # the largest magnitude 127 makes the step 1; 2.6 and -0.4 are rounded to 3 and 0
    packed = pack({"w": torch.tensor([[127.0, 2.6], [-0.4, -127.0]])})
    assert packed["w"].tolist() == [[127, 3], [0, -127]]
    assert unpack(packed)["w"].tolist() == [[127, 3], [0, -127]]
    zeros = torch.zeros(2, 2)
    assert torch.equal(unpack(pack({"w": zeros}))["w"], zeros)


def test_other_state_dicts_stay_as_they_are_and_odd_ones_are_refused():
    state = {"w": torch.ones(2, 2), "w.scale": torch.ones(2), "n": torch.ones(2, dtype=torch.int8)}
    assert unpack(state) == state
    with pytest.raises(ValueError, match=r"w: \[2\] scales do not fit \[2, 2\]"):
        unpack({"w": torch.ones(2, 2, dtype=torch.int8), "w.scale": torch.ones(2)})
