"""Costs are the model's own counts, and are measured in a process of their own."""

import pytest
import torch

from dprd_cli.benchmark import costs
from dprd_cli.benchmark.costs import count_costs, measure_inference
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from dprd_cli.model.cost import count_macs, count_parameters
from dprd_cli.model.detector import Detector
from paths import TINY


def tiny(*overrides):
    return resolve(config_file=TINY, overrides=overrides)


def test_counts_are_those_of_the_network_that_is_built():
    config = tiny()
    detector = build_detector(config.model, num_classes=6)
    counts = count_costs(config, 6, (64, 96))
    assert counts.parameters == count_parameters(detector).total / 1e6
    assert counts.macs == count_macs(detector, (64, 96), 20, 10).total / 1e9  # tiny.toml's RoIs and boxes


def test_masks_and_classes_cost():
    whole, boxes = (count_costs(tiny(f"model.heads.mask={mask}"), 6, (64, 64)) for mask in ("auto", "false"))
    assert boxes.parameters < whole.parameters
    assert boxes.macs < whole.macs
    # 9 classes more: a row and a bias for each in every stage's class logits, 16 wide, mask logits, 8, and
    # mask IoUs, 16
    more = count_costs(tiny(), 15, (64, 64)).parameters - whole.parameters
    assert more == pytest.approx(9 * 3 * (17 + 9 + 17) / 1e6)


def test_one_turn_warms_up_and_three_are_timed(monkeypatch):
    usual, found = Detector.detect, []

    def detect(self, images):
        output = usual(self, images)
        found.append(len(output.detections[0]))
        return output

    monkeypatch.setattr(Detector, "detect", detect)
    torch.manual_seed(0)
    assert len(costs._time_turns(tiny(), 6, (64, 64), torch.device("cpu"))) == 4
    assert found == [10] * 4  # as many as there may be: every score counts


@pytest.mark.slow
def test_inference_is_measured():
    found = measure_inference(tiny(), 6, (64, 64), "cpu")
    assert found.memory > 1  # MiB: the network alone is larger
    assert found.fps > 0
