"""Processes that work ahead: what comes is what `map` gives, whatever befalls them."""

import multiprocessing
import os
import signal
import socket
import time
import warnings

import numpy as np
import pytest

from dprd_cli.errors import DprdWarning
from dprd_cli.runtime import workers as module
from dprd_cli.runtime.workers import WorkerPool

SHAPES = {0: (0,), 1: (3,), 2: (300, 301), 3: (100_003,)}  # some below and some above what gets own memory


def draw(task):
    """Return arrays of many sizes and types, and something that is none."""
    rng = np.random.default_rng(task)
    arrays = [rng.integers(0, 255, SHAPES[task % 4], dtype=np.uint8), rng.random((70, 140)), rng.random(2)]
    return task, arrays, {"text": "x" * (task * 1000)}


def same(found, tasks):
    assert [one[0] for one in found] == list(tasks)
    for number, arrays, more in found:
        _, expected, told = draw(number)
        assert more == told
        for mine, theirs in zip(arrays, expected, strict=True):
            assert mine.dtype == theirs.dtype
            assert np.array_equal(mine, theirs)
            mine[...] = 0  # each has memory of its own
    return True


def processes():
    return [child.pid for child in multiprocessing.active_children()]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("tasks", [0, 1, 11])
def test_it_gives_what_map_gives(count, tasks):
    assert same(list(WorkerPool(draw, count).map(range(tasks))), range(tasks))
    assert processes() == []


@pytest.mark.parametrize("missing", [None, OSError])
def test_without_memory_of_their_own_arrays_come_through_the_socket(monkeypatch, missing):
    def refuse(name):
        raise missing

    if missing:
        monkeypatch.setattr(os, "memfd_create", refuse)
    else:  # as on Windows, where sockets carry no handles either
        monkeypatch.delattr(os, "memfd_create")
        monkeypatch.delattr(socket, "send_fds")
        monkeypatch.delattr(socket, "recv_fds")
    assert same(list(WorkerPool(draw, 2).map(range(9))), range(9))


def test_without_a_fork_they_begin_anew(monkeypatch):
    monkeypatch.delattr(os, "fork")
    assert module.start_method() == "spawn"
    assert same(list(WorkerPool(draw, 1).map(range(6))), range(6))
    assert processes() == []


def test_what_cannot_be_sent_is_done_here(monkeypatch):
    monkeypatch.setattr(module, "start_method", lambda: "spawn")
    with pytest.warns(DprdWarning, match=r"one could not be started \(.*pickle.*; going on without any"):
        assert list(WorkerPool(lambda task: task + 1, 1).map(range(3))) == [1, 2, 3]


def befall(number, count, *, after=2, tasks=30, **how):
    """Send a signal to one process after some answers; return the pool and all answers."""
    pool = WorkerPool(draw, count, **how)
    answers = pool.map(range(tasks))
    found = [next(answers) for _ in range(after)]
    os.kill(processes()[0], number)
    found.extend(answers)
    assert same(found, range(tasks))
    assert processes() == []
    return pool


@pytest.mark.parametrize(("count", "rest"), [(1, "without any"), (2, "with 1"), (5, "with 2")])
def test_a_process_that_is_killed_leaves_half_of_them(count, rest):
    told = rf"processes: one was ended by SIGKILL; memory may be short; going on {rest}"
    with pytest.warns(DprdWarning, match=told) as caught:
        assert befall(signal.SIGKILL, count).count == count // 2
    assert len([one for one in caught if one.category is DprdWarning]) == 1


def test_a_process_that_hangs_is_not_waited_for_beyond_patience():
    with pytest.warns(DprdWarning, match="one does not answer"):
        befall(signal.SIGSTOP, 2, patience=0.3)


def length(task):
    return len(task)


def test_a_process_that_hangs_takes_no_task_for_longer_than_patience():
    tasks = [b"x" * (1 << 22)] * 6  # more than a socket holds
    answers = WorkerPool(length, 1, patience=0.3).map(tasks)
    found = [next(answers)]
    os.kill(processes()[0], signal.SIGSTOP)
    with pytest.warns(DprdWarning, match="one does not answer"):
        found += answers
    assert found == [1 << 22] * 6
    assert processes() == []


def test_who_is_asked_to_stop_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DprdWarning)
        pool = befall(signal.SIGSTOP, 2, patience=1e6, is_stopping=lambda: True)
    assert pool.count == 0


def test_interrupts_and_hang_ups_are_the_main_process_s_business():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DprdWarning)
        assert befall(signal.SIGINT, 1).count == 1
        assert befall(signal.SIGHUP, 1).count == 1


def fail(task):
    if task == 3:
        raise ValueError("three")
    return task


def test_an_exception_comes_where_map_raises_it():
    answers = WorkerPool(fail, 2).map(range(9))
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(answers)
    assert processes() == []


def test_what_only_a_process_fails_at_is_done_here():
    main = os.getpid()

    def call(task):
        if os.getpid() != main and task == 3:
            raise MemoryError
        return task

    assert list(WorkerPool(call, 2).map(range(9))) == list(range(9))


def test_an_answer_that_cannot_be_sent_ends_the_process():
    with pytest.warns(DprdWarning, match="one has failed"):
        (answer,) = WorkerPool(lambda task: lambda: task, 1).map([7])
    assert answer() == 7


def test_processes_that_cannot_be_started_are_done_without(monkeypatch):
    def refuse(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    with pytest.warns(DprdWarning, match=r"could not be started \(Resource temporarily unavailable\)"):
        assert same(list(WorkerPool(draw, 1).map(range(3))), range(3))


def test_each_process_is_prepared():
    mine = os.getpid()

    def begin():
        nonlocal mine
        mine = -1

    assert set(WorkerPool(lambda task: mine, 2, begin=begin).map(range(6))) == {-1}


def test_processes_end_with_whoever_asked():
    answers = WorkerPool(draw, 2).map(range(100))
    next(answers)
    assert len(processes()) == 2
    answers.close()
    assert processes() == []


def test_processes_end_when_the_main_one_is_killed():
    mine, theirs = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if not pid:
        answers = WorkerPool(draw, 3).map(range(1000))
        next(answers)
        theirs.send(processes())
        time.sleep(60)
        os._exit(0)
    children = mine.recv()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 30
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_alive, children))


def is_alive(pid):
    """Whether a process runs; one that has ended may wait for whoever collects orphans."""
    try:
        return " Z" not in open(f"/proc/{pid}/stat").read().partition(")")[2][:3]
    except OSError:
        return False
