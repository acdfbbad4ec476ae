"""How much memory a call takes at most."""

import sys

import numpy as np
import pytest
import torch

from dprd_cli.runtime.memory import available_memory, peak_beyond, peak_resident

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget earlier peaks")


def fill(mib):
    return np.ones(mib * MIB, dtype=np.uint8)


@linux
def test_what_a_call_holds_at_most_counts_and_earlier_calls_do_not():
    fill(300)
    small = peak_beyond(lambda: fill(40), torch.device("cpu"))
    large = peak_beyond(lambda: (fill(100), fill(40)), torch.device("cpu"))
    assert 39 * MIB <= small < 80 * MIB
    assert 138 * MIB <= large < 200 * MIB


@linux
def test_the_resident_peak_has_what_was_there_before():
    kept = fill(60)
    idle = peak_resident(lambda: None)
    busy = peak_resident(lambda: fill(80))
    assert idle > len(kept)
    assert 70 * MIB <= busy - idle < 120 * MIB


def test_a_process_may_take_what_it_has():
    kept = fill(30)
    assert len(kept) < available_memory()
