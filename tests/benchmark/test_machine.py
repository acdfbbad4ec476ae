"""What numbers depend on is told, and what is not installed is not."""

import datetime
import json
from importlib.metadata import PackageNotFoundError

import torch

from dprd_cli.benchmark import machine
from dprd_cli.benchmark.machine import Machine, describe_machine


def test_this_machine():
    found = describe_machine(torch.device("cpu"))
    assert found.device == "cpu"
    assert found.threads == torch.get_num_threads()
    assert found.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    datetime.date.fromisoformat(found.date)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_packages_that_are_missing_are_left_out(monkeypatch):
    def version(name):
        if name == "detectron2":
            raise PackageNotFoundError
        return "1"

    monkeypatch.setattr(machine, "version", version)
    versions = describe_machine(torch.device("cpu")).versions
    assert "torch" in versions
    assert "detectron2" not in versions


def test_threads_and_versions_are_one_line():
    here = Machine("2022-02-22", "M", "cpu", 2, "Linux x86_64", "3.11.0", {"torch": "2.11", "numpy": "2.0"})
    assert here.software == "2 threads, Python 3.11.0, torch 2.11, numpy 2.0"
