"""Where a call's processor time goes: by groups that sum to the call, each step watched as it was timed."""

import json

import pytest
import torch

from dprd_cli import cli
from dprd_cli.benchmark import profile
from dprd_cli.training.learner import Learner


def shares(report):
    assert sum(one.seconds for one in report.shares) == pytest.approx(report.seconds)
    assert report.shares[-1].name == profile.REST
    return {one.name: one for one in report.shares}


def test_groups_by_hand():
    a, b = torch.ones(3, 4), torch.ones(4, 5, requires_grad=True)

    def step():
        total = (a @ b).relu().sum()
        total.backward()
        with torch.no_grad():
            b.grad.mul_(2)

    report = profile.measure("step", {}, [(step, step)] * 2)
    found = shares(report)
    assert report.turns == 2
    forward, backward = (found[f"convolutions and matrix products, {way}"] for way in ("forward", "backward"))
    assert (forward.calls, forward.macs) == (1, 3 * 4 * 5)
    assert (backward.calls, backward.macs) == (1, 4 * 3 * 5)  # the gradient of `b` alone
    elements = "sums, products of elements, copies, activations"
    assert found[f"{elements}, forward"].calls == 3  # relu, sum, and the 1 that a gradient starts from
    assert found[f"{elements}, backward"].calls >= 1  # but not the expansion, which is a view
    assert found["clipping, optimiser"].calls == 1
    assert not any("view" in name for name in found)


@pytest.fixture
def steps(monkeypatch):
    """Return (step, rate) of the steps of a learner, which is warm after one."""
    monkeypatch.setattr(profile, "WARM_UP", 1)
    done, plain = [], Learner.step

    def step(self, number, rate, images, targets):
        values = plain(self, number, rate, images, targets)
        done.append((number, rate > 0, float(values["loss"])))
        return values

    monkeypatch.setattr(Learner, "step", step)
    return done


SMALL = ["--preset", "dprd-small", "--image-size", "64x64", "--batch-size", "1", "--repetitions", "1"]


def test_a_training_step_is_timed_and_then_watched_on_the_same_weights(capsys, steps):
    assert cli.run(["benchmark", "train", "--profile", *SMALL, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [(number, moves) for number, moves, _ in steps] == [(0, True), (1, False), (1, True)]
    assert steps[1][2] == steps[2][2]
    assert content["machine"]["threads"]
    assert content["settings"]["first_step"] == 2
    assert content["settings"]["image_size"] == [64, 64]
    groups = {group["group"]: group for group in content["groups"]}
    assert sum(group["share"] for group in content["groups"]) == pytest.approx(1)
    for name in ("convolutions and matrix products", "normalisation", "pooled features"):
        for way in ("forward", "backward"):
            assert groups[f"{name}, {way}"]["operators"] > 0
    assert groups["convolutions and matrix products, backward"]["gmac"] > 0
    assert groups["gradient of the pooled features' weights"]["operators"] > 0
    assert groups["clipping, optimiser"]["operators"] > 0


def test_inference_has_no_gradient_to_take(capsys):
    options = [*SMALL, "--proposals", "10", "--markdown"]
    assert cli.run(["benchmark", "inference", "--profile", *options]) == 0
    out = capsys.readouterr().out
    assert "| inference: preset dprd-small, image_size [64, 64]" in out
    assert "| convolutions and matrix products, forward |" in out
    assert "backward" not in out
    assert "optimiser" not in out
    assert "| a call, mean of 1 |" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paste"], "--profile: of inference and train, not of paste"),
        (["train", "--compile"], "--profile: operator by operator on a CPU; leave out --compile"),
        (["train", "--preset", "dprdd"], "(did you mean 'dprd'?)"),
        (["train", "--image-size", "64x96"], "whose images are square, such as 64x64"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    assert cli.run(["benchmark", *arguments, "--profile"]) == 2
    assert message in capsys.readouterr().err
