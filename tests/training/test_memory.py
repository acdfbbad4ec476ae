"""Advice when memory is short."""

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.errors import ResourceError, UserError
from dprd_cli.training.memory import advice, memory_advice


def test_advice_names_what_costs_least_first():
    config = resolve(overrides=["data.path=x", "train.batch_size=8", "train.precision=fp32"])
    text = advice(config)
    assert text.startswith(
        "try --set train.accumulate=2 (the 8 images of a step in 2 passes), "
        "or --precision auto (now fp32), or lower data.train_min_sizes (now up to 800), data.max_size "
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
