import importlib.util
import runpy
import sys

import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.structures.detections import Target
from paths import ROOT

SCRIPT = ROOT / "scripts" / "place_likelihood.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("place_likelihood", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_tells_what_the_scorer_says_of_the_true_class_at_each_place(script):
    torch.manual_seed(0)
    detector = build_detector(resolve(preset="dprd-placed-small").model, num_classes=6).eval()
    image = 255 * torch.rand(3, 64, 64)
    target = Target(torch.tensor([[8.0, 8, 40, 40], [20.0, 4, 60, 50]]), torch.tensor([2, 4]), (64, 64))
    score, places = script.likelihoods(detector, image, target)
    assert score.shape == places.shape == (2, 4, 9)
    assert (score < 0).all()
    torch.testing.assert_close(places.exp(), torch.full_like(places, 1 / 9))  # a new layer prefers none
    assert len(score[0].unique()) > 1
    detector.roi_heads.parts.scorer[-1].bias.data[2] += 1.0
    after, _ = script.likelihoods(detector, image, target)
    assert (after[0] > score[0]).all()
    assert (after[1] < score[1]).all()


def test_other_parts_are_turned_down(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "demo"])
    with pytest.raises(SystemExit, match="not placed"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
