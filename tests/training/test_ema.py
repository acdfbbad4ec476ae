import pytest
import torch
from torch import nn

from dprd_cli.training.ema import WeightAverage


def test_the_average_follows_its_law():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    model[0].weight.data[:] = 0.0
    average = WeightAverage(model, decay=0.5)
    model[0].weight.data[:] = 1.0
    model[1].running_mean[:] = 4.0
    model[1].num_batches_tracked += 3
    average.update(1)  # d = min(0.5, 2 / 11)
    assert average.detector[0].weight.item() == pytest.approx(9 / 11)
    assert average.detector[1].running_mean.item() == pytest.approx(4 * 9 / 11)
    assert average.detector[1].num_batches_tracked == 3
    average.update(1000)  # d = 0.5: (9/11 + 1) / 2
    assert average.detector[0].weight.item() == pytest.approx(10 / 11)


def test_the_average_is_apart_from_the_trained_network():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.9)
    assert not average.detector.training
    assert not any(p.requires_grad for p in average.detector.parameters())
    before = model.weight.detach().clone()
    average.detector.weight.data += 1
    assert torch.equal(model.weight, before)
