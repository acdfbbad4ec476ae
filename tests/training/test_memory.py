"""Advice when memory is short, and the search for the largest batch."""

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.errors import ResourceError, UserError
from dprd_cli.training.batch_probe import extrapolated, largest, worst_batch
from dprd_cli.training.memory import advice, memory_advice

GIB = 1 << 30


def test_advice_names_what_costs_least_first():
    config = resolve(overrides=["data.path=x", "train.batch_size=8", "train.amp=off"])
    text = advice(config)
    assert text.startswith(
        "try --set train.accumulate=2 (the 8 images of a step in 2 passes), "
        "or --set train.amp=auto (now off), or lower data.train_min_sizes (now up to 800), data.max_size "
    )
    assert text.endswith("; dprd train --probe-batch finds the batch that fits")
    most = advice(
        resolve(overrides=["data.path=x", "train.batch_size=2", "train.accumulate=2", "data.lsj_size=512"])
    )
    assert "accumulate" not in most
    assert "lower data.lsj_size (now 512)" in most


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:126] DefaultCPUAllocator: can't allocate memory"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_short_memory_becomes_one_line_with_a_way_to_go_on(tmp_path, error):
    config = resolve()
    with pytest.raises(ResourceError, match=r"^out of memory; try --set train\.accumulate=2 ") as caught, \
            memory_advice(config, tmp_path):  # fmt: skip
        raise error
    assert "--resume" not in str(caught.value)
    (tmp_path / "last.pt").touch()
    with pytest.raises(ResourceError, match=rf"dprd train --resume {tmp_path} with these goes on$"), \
            memory_advice(config, tmp_path):  # fmt: skip
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), UserError("no data")])
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, memory_advice(resolve(), tmp_path):
        raise error
    assert caught.value is error


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
