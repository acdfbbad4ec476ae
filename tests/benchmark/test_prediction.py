"""The command in a process of its own, and what it wrote beside what the network found."""

import json
from types import SimpleNamespace

import pytest
import torch

from dprd_cli.benchmark.prediction import _difference, run_dprd
from dprd_cli.errors import UserError


def test_a_command_that_fails_is_no_measurement(tmp_path):
    assert run_dprd(["--version"])
    with pytest.raises(UserError, match=r"dprd data check .*nothing: error: .*nothing"):
        run_dprd(["data", "check", str(tmp_path / "nothing")])


def test_scores_are_compared_in_order(tmp_path):
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"score": 0.5}, {"score": 0.25}, {"score": 0.75}]))

    def found(*scores):
        return SimpleNamespace(detections=SimpleNamespace(scores=torch.tensor(scores)))

    assert _difference([found(0.5, 0.25), found(0.75)], results) == ""
    assert _difference([found(0.5, 0.5), found(0.75)], results) == "scores differ by 0.25"
    assert _difference([found(0.5)], results) == ("3 detections in results.json, 1 of the network alone")
