"""One step: accumulation, clipping, its random numbers, and what is not finite. The network is one number."""

import pytest
import torch
from torch import nn

from dprd_cli.config.schema import TrainConfig
from dprd_cli.model.losses import LossOutput
from dprd_cli.structures.detections import Target
from dprd_cli.training.learner import Learner, NotFiniteError, draw_seed


class Line(nn.Module):
    """Its loss is the mean over the images of (w x - n)^2, with x an image's mean and n its objects."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Identity()
        self.w = nn.Parameter(torch.tensor([2.0]))
        self.draws = []

    def forward(self, images, targets):
        self.draws.append(torch.rand(1).item())
        errors = [
            self.w * image.float().mean() - len(goal) for image, goal in zip(images, targets, strict=True)
        ]
        return LossOutput({"loss_box": torch.cat(errors).square().mean()}, {"num_fg": torch.tensor(3.0)})


def batch(*values):
    images = [torch.full((3, 2, 2), value, dtype=torch.uint8) for value in values]
    empty = [Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (2, 2)) for _ in values]
    return images, empty


def learner(**settings):
    return Learner(
        Line(), TrainConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0, amp="off", **settings)
    )


@pytest.mark.parametrize("passes", [1, 2, 3, 5, 9])
def test_accumulation_is_the_mean_over_all_images(passes):
    one = learner(accumulate=passes)
    values = one.step(0, 0.01, *batch(1, 2, 3, 4, 5))
    # w = 2: loss = 4 (1 + 4 + 9 + 16 + 25) / 5 = 44, gradient = 2 * 2 * 55 / 5 = 44, w' = 2 - 0.44
    assert float(values["loss"]) == pytest.approx(44)
    assert float(values["grad_norm"]) == pytest.approx(44)
    assert float(values["num_fg"]) == pytest.approx(3)
    assert one.detector.w.item() == pytest.approx(1.56)
    assert len(one.detector.draws) == min(passes, 5)


def test_the_clipped_gradient_is_that_of_the_whole_step():
    one = learner(accumulate=2, clip_norm=1.0)
    values = one.step(0, 0.5, *batch(1, 2, 3, 4))
    assert float(values["grad_norm"]) == pytest.approx(2 * 2 * 30 / 4)  # before clipping
    assert one.detector.w.item() == pytest.approx(1.5)


def test_random_numbers_are_a_function_of_seed_step_and_pass():
    one, other = learner(accumulate=2), learner(accumulate=2)
    one.step(6, 0.0, *batch(1, 2))
    torch.manual_seed(99)
    one.step(7, 0.0, *batch(1, 2))
    other.step(7, 0.0, *batch(1, 2))
    assert one.detector.draws[2:] == other.detector.draws
    assert len(set(one.detector.draws)) == 4
    seeds = {draw_seed(seed, step, part) for seed in range(5) for step in range(50) for part in range(8)}
    assert len(seeds) == 5 * 50 * 8
    assert all(0 <= seed < 1 << 32 for seed in seeds)


def test_a_step_that_is_not_finite_changes_nothing():
    one = learner()
    one.detector.w.data[:] = float("inf")
    with pytest.raises(NotFiniteError) as caught:
        one.step(0, 0.1, *batch(1))
    assert caught.value.values["loss_box"] == float("inf")
    assert one.detector.w.item() == float("inf")


def test_an_optimizer_of_another_kind_or_network_is_refused():
    adamw = Learner(Line(), TrainConfig(optimizer="adamw", amp="off"))
    adamw.step(0, 0.1, *batch(1))
    saved = adamw.optimizer.state_dict()
    with pytest.raises(ValueError, match="another optimizer"):
        learner().restore(saved)
    saved["state"][0]["exp_avg"] = torch.zeros(7)
    with pytest.raises(ValueError, match="other parameters"):
        Learner(Line(), TrainConfig(optimizer="adamw", amp="off")).restore(saved)
    with pytest.raises(ValueError, match="grouped in another way"):
        learner().restore({"state": {}, "param_groups": []})
