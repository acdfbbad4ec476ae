"""scripts/check_backbones.py: what counts as the same, and what a failure looks like."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from paths import ROOT

SCRIPT = ROOT / "scripts" / "check_backbones.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_backbones", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_values_are_compared_to_the_bit(script):
    one = {"model": {"w": torch.ones(2)}, "optimizer": {"state": [{"step": 1, "avg": torch.zeros(1)}]}}
    other = {"model": {"w": torch.ones(2)}, "optimizer": {"state": [{"step": 1, "avg": torch.zeros(1)}]}}
    assert script._differing(one, other, "") == []
    other["model"]["w"][1] += 1e-7
    other["optimizer"]["state"][0]["step"] = 2
    assert script._differing(one, other, "run") == ["run.model.w", "run.optimizer.state.0.step"]
    assert script._differing({"a": 1}, {"b": 1}, "run") == ["run"]


def test_detections_are_near_within_half_a_pixel_and_a_hundredth(script):
    one = {"category_id": 1, "score": 0.5, "bbox": [1.0, 2.0, 3.0, 4.0]}
    assert script._near(one, one | {"score": 0.505, "bbox": [1.4, 2.0, 3.0, 4.0]})
    for change in ({"category_id": 2}, {"score": 0.52}, {"bbox": [1.0, 2.6, 3.0, 4.0]}):
        assert not script._near(one, one | change)


def test_a_step_that_fails_is_named_with_what_was_said(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "resnet5"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("resnet5 ")
    assert "train      failed  exit code 2: error: " in done.stdout
    assert "resnet5" in done.stdout.split("error:")[1]
    assert len(done.stdout.splitlines()) == 1
