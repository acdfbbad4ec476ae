"""The search for the largest batch: in few tries, by hand, with the largest images that can come."""

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.errors import ResourceError
from dprd_cli.training import batch_probe
from dprd_cli.training.batch_probe import BatchProbe, extrapolated, largest, probe_batch, worst_batch
from training_runs import tiny

GIB = 1 << 30


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 8, 13, 1024, 5000])
def test_the_largest_that_fits_is_found_in_few_tries(limit):
    tried = []

    def fits(size):
        tried.append(size)
        return size <= limit

    assert largest(fits, most=1024) == min(limit, 1024)
    assert max(tried) <= max(1024, 2 * limit)
    assert len(tried) <= 21


def test_a_cpu_is_measured_and_extrapolated():
    # 3 GiB with one image, 5 GiB with three: 1 GiB each; 18 of 20 GiB may be used: (18 - 3) / 1 + 1
    assert extrapolated(3 * GIB, 5 * GIB, 20 * GIB).batch_size == 16
    assert extrapolated(3 * GIB, 5 * GIB, 3 * GIB).batch_size == 0


def test_the_worst_batch_has_the_largest_images():
    config = resolve(overrides=["data.path=x", "data.scale_jitter=[0.5, 1.5]"]).data
    images, targets = worst_batch(config, 2, 3, masks=True)
    assert [tuple(image.shape) for image in images] == [(3, 1200, 1333)] * 2
    assert targets[0].masks.shape[1:] == (1200, 1333)
    config = resolve(overrides=["data.path=x", "data.lsj_size=128"]).data
    assert worst_batch(config, 1, 3, masks=False)[0][0].shape == (3, 128, 128)


@pytest.mark.usefixtures("one_thread")
def test_whole_steps_are_tried_whatever_their_loss(monkeypatch):
    """A step of one to warm up, then those that are measured; neither batch nor accumulation is the run's."""
    sizes = []
    usual = batch_probe.Learner.step

    def step(self, number, rate, images, targets):
        sizes.append(len(images))
        assert all(len(target.boxes) == 20 for target in targets)
        usual(self, number, rate, images, targets)
        raise batch_probe.NotFiniteError({})

    monkeypatch.setattr(batch_probe.Learner, "step", step)
    monkeypatch.setattr(batch_probe, "available_memory", lambda: 1 << 40)
    assert probe_batch(tiny("train.accumulate=2")).batch_size > 1
    assert sizes == [1, 1, 3]


def test_if_not_one_image_fits_it_is_said_what_can_be_lowered(monkeypatch):
    monkeypatch.setattr(batch_probe, "_extrapolate", lambda attempt: BatchProbe(0, "too little"))
    with pytest.raises(
        ResourceError, match=r"not even one image fits \(too little\); try .*train.accumulate"
    ):
        probe_batch(tiny())
