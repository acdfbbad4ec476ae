"""The device that a name stands for."""

import pytest
import torch

from dprd_cli.errors import UsageError
from dprd_cli.runtime import device
from dprd_cli.runtime.device import pick_device


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are so many."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_auto_takes_cuda_where_there_is_one(gpus):
    gpus(0)
    assert pick_device() == pick_device("cpu") == torch.device("cpu")
    gpus(2)
    assert pick_device() == torch.device("cuda")
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("cuda:1") == torch.device("cuda:1")


def test_each_process_on_a_machine_gets_its_own(gpus, monkeypatch):
    gpus(2)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert pick_device() == pick_device("cuda") == torch.device("cuda:1")
    assert pick_device("cuda:0") == torch.device("cuda:0")  # asked for by number
    gpus(1)
    with pytest.raises(UsageError, match=r"device 'cuda:1': not here \(1 CUDA devices\)"):
        pick_device()


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "meta", ""])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match=f"unknown device '{name}'; there are: auto, cpu, cuda, cuda:N"):
        pick_device(name)


def test_apples_gpu_must_be_there_and_able(monkeypatch):
    with pytest.raises(UsageError, match="device 'mps': not here; use auto or cpu"):
        pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type != "mps"

    def refuse(place):
        raise NotImplementedError("The operator 'aten::_embedding_bag' is not there.\nMore of it")

    monkeypatch.setattr(device, "pool_and_suppress", refuse)
    told = r"lacks an operation there \(The operator 'aten::_embedding_bag' is not there\); use cpu, or"
    with pytest.raises(UsageError, match=told):
        pick_device("mps")
    monkeypatch.setattr(device, "pool_and_suppress", lambda place: None)
    assert pick_device("mps") == torch.device("mps")


def test_what_is_tried_works_on_a_cpu():
    device.pool_and_suppress(torch.device("cpu"))
