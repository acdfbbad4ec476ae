"""Timings by hand, programs in turns, and what a report says of them."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from dprd_cli.benchmark.measure import (
    BenchmarkReport,
    BenchmarkRow,
    Convolution,
    Timing,
    held_by,
    interleave,
)

CPU = torch.device("cpu")


def test_a_timing_is_its_median_and_what_it_computes_in_that_time():
    timing = Timing((4.0, 1.0, 2.0), 3_000_000, macs=8e9, share=0.5)
    assert (timing.median, timing.rate) == (2.0, 4e9)
    assert timing.to_json() == {
        "median_s": 2.0, "min_s": 1.0, "max_s": 4.0, "seconds": [4.0, 1.0, 2.0], "peak_mb": 3.0,
        "gmac": 8.0, "gmac_per_s": 4.0, "share_of_convolution": 0.5,
    }  # fmt: skip


def test_what_was_not_counted_is_not_told():
    timing = Timing((2.0,), None)
    assert timing.rate is None
    assert timing.to_json().keys() == {"median_s", "min_s", "max_s", "seconds", "peak_mb"}
    assert timing.to_json()["peak_mb"] is None
    assert replace(timing, processor=(3.0, 1.0, 2.0)).to_json()["processor_median_s"] == 2.0


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(2.0, True, True), (1.9, True, False), (2.0, False, True), (2.1, False, False)],
)
def test_a_target_is_met_on_its_side(value, at_least, met):
    row = BenchmarkRow("a", "b", value, 2.0, at_least=at_least)
    assert row.met is met
    assert row.to_json() == {
        "what": "a", "against": "b", "value": value, "target": 2.0, "at_least": at_least, "unit": "x",
        "met": met,
    }  # fmt: skip


def test_a_report_is_one_json_document():
    row = BenchmarkRow("a", "b", 1.0, 2.0, at_least=True)
    report = BenchmarkReport("paste", {"masks": 3}, {"ours": Timing((1.0,), None)}, [row], None, "none")
    content = json.loads(json.dumps(report.to_json()))
    assert content == {
        "benchmark": "paste", "settings": {"masks": 3}, "programs": {"ours": Timing((1.0,), None).to_json()},
        "rows": [row.to_json()], "same_answers": None, "answers": "none",
    }  # fmt: skip


def test_programs_are_called_in_turns_and_the_first_turn_is_not_timed():
    calls, shown = [], []
    runs = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    timings = interleave(runs, 2, CPU, lambda done, total: shown.append((done, total)))
    assert "".join(calls) == "ababab"
    assert shown == [(n, 6) for n in range(1, 7)]
    assert all(len(timing.seconds) == 2 and timing.memory >= 0 for timing in timings.values())
    assert all(len(timing.processor) == 2 and min(timing.processor) >= 0 for timing in timings.values())
    calls.clear()
    timings = interleave(runs, 2, CPU, lambda done, total: None, warm_up=False)
    assert "".join(calls) == "abab"
    assert all(len(timing.seconds) == 2 and timing.memory is None for timing in timings.values())


def test_the_first_turn_measures_memory():
    def hold():
        torch.ones(64 << 20, dtype=torch.uint8)

    timings = interleave({"much": hold, "none": lambda: None}, 1, CPU, lambda done, total: None)
    assert timings["much"].memory - timings["none"].memory > 48 << 20


def test_a_network_holds_its_parameters_and_buffers():
    # 2 x 3 weights, 2 biases, two running statistics and two affine vectors of 2, in 4 bytes; a count in 8
    assert held_by(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))) == 4 * (6 + 2 + 2 * 2 + 2 * 2) + 8


def test_the_convolution_is_fpns_on_p2():
    convolution = Convolution(8, (64, 96), CPU)
    assert convolution.map.shape == (1, 8, 16, 24)
    assert convolution.macs == 9 * 8 * 8 * 16 * 24
    convolution()
