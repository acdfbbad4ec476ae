"""The number of cores that work is shared out to."""

import os

from dprd_cli.runtime.cores import available_cores


def test_cores_that_the_process_is_bound_to_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 5}, raising=False)
    assert available_cores() == 3


def test_where_the_system_cannot_say_all_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
