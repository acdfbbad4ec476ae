"""One step: accumulation, clipping, its random numbers, and what is not finite. The network is one number."""

import copy

import pytest
import torch
from torch import nn

from dprd_cli.config.schema import TrainConfig
from dprd_cli.model.layers import MapLinear
from dprd_cli.model.losses import LossOutput
from dprd_cli.runtime.process_group import SINGLE_PROCESS
from dprd_cli.structures.detections import Target
from dprd_cli.training.learner import Learner, NotFiniteError, draw_seed
from ranks import in_ranks, learn, learn_without_objects


class Line(nn.Module):
    """Its loss is the mean over the images of (w x - n)^2, with x an image's mean and n its objects."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Identity()
        self.w = nn.Parameter(torch.tensor([2.0]))
        self.draws = []

    def forward(self, images, targets, progress):
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
    return Learner(Line(), TrainConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0, **settings))


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


def test_what_is_saved_again_before_a_step_is_what_was_saved():
    first = learner()
    first.step(0, 0.03, *batch(1))
    saved = first.optimizer.state_dict()
    second = learner()
    second.restore(saved)
    assert second.optimizer.state_dict() == saved
    assert saved["param_groups"][0]["lr"] == 0.03


def test_an_optimizer_s_state_of_a_matrix_is_taken_up_by_a_layer_on_maps():
    def of(layer):
        box = nn.Module()
        box.backbone, box.layer = nn.Module(), layer.to(memory_format=torch.channels_last)
        return Learner(box, TrainConfig(optimizer="adamw", precision="fp32"))

    torch.manual_seed(0)
    old, new = of(nn.Linear(3 * 2 * 2, 5)), of(MapLinear(3, 2, 5))
    new.detector.load_state_dict(old.detector.state_dict())
    x = torch.randn(4, 3, 2, 2)
    for _ in range(2):
        new.restore(copy.deepcopy(old.optimizer.state_dict()))
        for one, given in ((old, x.flatten(1)), (new, x)):
            one.optimizer.zero_grad()
            one.detector.layer(given).square().sum().backward()
            one.optimizer.step()
        for name, value in old.detector.state_dict().items():
            torch.testing.assert_close(new.detector.state_dict()[name], value)


def test_an_optimizer_of_another_kind_or_network_is_refused():
    adamw = Learner(Line(), TrainConfig(optimizer="adamw"))
    adamw.step(0, 0.1, *batch(1))
    saved = adamw.optimizer.state_dict()
    with pytest.raises(ValueError, match="another optimizer"):
        learner().restore(saved)
    saved["state"][0]["exp_avg"] = torch.zeros(7)
    with pytest.raises(ValueError, match="other parameters"):
        Learner(Line(), TrainConfig(optimizer="adamw")).restore(saved)
    with pytest.raises(ValueError, match="grouped in another way"):
        learner().restore({"state": {}, "param_groups": []})


# (ranks, passes of each, images a step)
SHARED = [(2, 1, 6), (2, 3, 6), (3, 1, 7), (4, 2, 11)]


@pytest.mark.parametrize(("size", "passes", "images"), SHARED)
def test_ranks_are_one_process_with_all_their_passes(size, passes, images):
    one = learn(SINGLE_PROCESS, 3, {"accumulate": size * passes}, images)
    ranks = in_ranks(size, learn, 3, {"accumulate": passes}, images)
    assert all((rank["weights"], rank["rows"]) == (ranks[0]["weights"], ranks[0]["rows"]) for rank in ranks)
    assert [rank["seen"] for rank in ranks] == [rank["own"] for rank in ranks]  # buffers stay the ranks' own
    if size == 2 and passes == 1:  # a sum of two has no order, and halving is exact
        assert (ranks[0]["weights"], ranks[0]["rows"]) == (one["weights"], one["rows"])
    assert ranks[0]["weights"].keys() == one["weights"].keys()  # as in a single process: no `module.`
    for key, values in one["weights"].items():
        assert ranks[0]["weights"][key] == pytest.approx(values, rel=1e-6)
    for mine, theirs in zip(ranks[0]["rows"], one["rows"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


def test_ranks_without_objects_take_part_in_the_sum():
    # of 3 images each has one: that of rank 1 has the object
    ranks = in_ranks(3, learn, 2, {}, 3)
    one = learn(SINGLE_PROCESS, 2, {"accumulate": 3}, 3)
    assert ranks[0]["weights"] == ranks[1]["weights"] == ranks[2]["weights"]
    assert ranks[0]["weights"]["head"] == pytest.approx(one["weights"]["head"], rel=1e-6)
    assert ranks[0]["rows"][0]["num_fg"] == pytest.approx(1 / 3)
    # nobody has one: the first image alone
    none = in_ranks(2, learn_without_objects)
    assert none[0] == none[1]
    assert none[0]["weights"]["head"] == [1.0] * 6
