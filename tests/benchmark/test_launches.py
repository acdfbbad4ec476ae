"""Work is counted as a GPU would get it, computed as on a CPU, and stays within bounds."""

import pytest
import torch

from dprd_cli.benchmark.launches import CountedDevice, count_training_pass
from dprd_cli.benchmark.networks import BenchmarkImages
from dprd_cli.config.presets import resolve
from dprd_cli.model.build import build_detector
from paths import TINY


def counted(call):
    with CountedDevice() as device:
        values = torch.arange(6.0, device=device.device)  # a launch
        found = call(values)
    return found, device.work


@pytest.mark.parametrize(
    ("call", "launches", "waits"),
    [
        (lambda x: x + 1, 2, 0),
        (lambda x: x.view(2, 3).t(), 1, 0),  # another look at the same
        (lambda x: x[x > 2], 3, 1),  # a comparison, and a gathering of who knows how many
        (lambda x: x[torch.tensor([0, 2])], 2, 0),  # numbers on the host, as they are
        (lambda x: x[torch.tensor([0, 2], device=x.device)], 2, 1),
        (lambda x: x.masked_fill(x > 2, 0), 3, 0),
        (lambda x: x.nonzero(), 2, 1),
        (lambda x: float(x.sum()), 3, 1),
        (lambda x: x.tolist(), 1, 1),
        (lambda x: x.new_tensor([1, 2]), 1, 1),
        (lambda x: torch.tensor([1, 2]).to(x.device), 2, 1),
        (lambda x: torch.tensor([1, 2]).to(x.device, non_blocking=True), 2, 0),
        (lambda x: x.to(torch.int64), 2, 0),
        (lambda x: x.cpu(), 2, 1),
        (lambda x: x.topk(2), 2, 0),
    ],
)
def test_launches_and_waits_by_hand(call, launches, waits):
    _, work = counted(call)
    assert (work.launches, work.waits) == (launches, waits)


def test_values_are_the_cpu_s_and_products_are_counted():
    def product(x):
        weight = x.view(2, 3).clone().requires_grad_()
        total = (weight @ weight.t()).sum()
        total.backward()
        return total.item(), weight.grad.tolist()

    (total, gradient), work = counted(product)
    weight = torch.arange(6.0).view(2, 3).requires_grad_()
    expected = (weight @ weight.t()).sum()
    expected.backward()
    assert total == expected.item()
    assert gradient == weight.grad.tolist()
    assert work.macs == 3 * 2 * 3 * 2  # 2x3 by 3x2, and twice as many for its gradients


@pytest.fixture(scope="module")
def step():
    torch.manual_seed(0)
    detector = build_detector(resolve(config_file=TINY).model, num_classes=80)
    inputs = BenchmarkImages((64, 96), 2, 20, torch.device("cpu"))
    return detector, inputs.images(), inputs.targets(2)


def test_counting_changes_nothing(step):
    detector = step[0]
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    state = torch.get_rng_state()
    work = count_training_pass(*step)
    assert torch.equal(state, torch.get_rng_state())
    after = detector.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(p.grad is None and p.device.type == "cpu" for p in detector.parameters())
    assert sum(work.launches_at.values()) == work.launches


def test_a_training_pass_asks_for_no_more_than_before(step):
    """A regression guard: lower a bound where the counts fall."""
    work = count_training_pass(*step)
    assert work.waits <= 7, work.waits_at
    assert work.launches <= 3110, work.launches_at
    assert work.macs <= 1.65e9
