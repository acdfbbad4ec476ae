"""`--gpus N`: what the processes get, and how they end together. A shell stands for Python."""

import os
import signal
import threading
import time

import pytest

from dprd_cli.errors import ResourceError, UserError
from dprd_cli.runtime import launch as module
from dprd_cli.runtime.launch import launch


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """Let the processes run a shell script; return a function that launches so many of it."""

    def start(count, script, **more):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(module.sys, "executable", str(program))
        return launch(count, ["train", "--steps", "3"], **more)

    return start


def test_each_process_gets_the_command_and_its_number(ranks, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "available_cores", lambda: 7)
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS"]
    values = " ".join(f"${name}" for name in names)
    script = f'echo "{values} $*" > {tmp_path}/$RANK; echo $MASTER_PORT >> {tmp_path}/port'
    assert ranks(3, script) == 0
    for rank in range(3):
        expected = f"{rank} {rank} 3 3 127.0.0.1 2 -m dprd_cli train --steps 3\n"
        assert (tmp_path / str(rank)).read_text() == expected
    assert len(set((tmp_path / "port").read_text().split())) == 1


@pytest.mark.parametrize(
    ("codes", "code"),
    [("0 0 0", 0), ("1 1 3", 3), ("1 4 1", 4), ("0 1 0", 1), ("143 143 143", 143)],
)
def test_the_exit_code_is_that_of_a_rank_that_knows_the_reason(ranks, codes, code):
    assert ranks(3, f"set -- {codes}; shift $RANK; exit $1") == code


def test_a_process_that_was_killed_is_named(ranks):
    with pytest.raises(UserError, match=r"rank 1 was ended by SIGKILL .* training goes on with --resume"):
        ranks(2, "test $RANK = 0 || kill -9 $$; exit 1")


def test_where_one_is_killed_or_fails_all_are_started_again(ranks, tmp_path, capfd):
    script = f"life=$TORCHELASTIC_RESTART_COUNT; echo $life >> {tmp_path}/$RANK; "
    script += "test $life != 1 || exit 1; test $life$RANK != 01 || kill -9 $$"
    assert ranks(2, script, max_restarts=3) == 0
    assert [(tmp_path / str(rank)).read_text().split() for rank in range(2)] == [["0", "1", "2"]] * 2
    assert capfd.readouterr().err.splitlines() == [
        "rank 1 was ended by SIGKILL; all are started again (1 of 3)",
        "a rank failed; all are started again (2 of 3)",
    ]


def test_restarts_come_to_an_end(ranks, tmp_path):
    with pytest.raises(UserError, match="rank 0 was ended by SIGKILL"):
        ranks(1, f"echo >> {tmp_path}/lives; kill -9 $$", max_restarts=2)
    assert len((tmp_path / "lives").read_text()) == 3


@pytest.mark.parametrize("ends", ["exit 3", "exit 4", "kill -TERM $$"])
def test_what_a_restart_does_not_mend_is_not_tried_again(ranks, tmp_path, ends):
    assert ranks(1, f"echo >> {tmp_path}/lives; {ends}; sleep 60", max_restarts=2) != 0
    assert len((tmp_path / "lives").read_text()) == 1


def test_where_one_cannot_be_started_the_others_are_ended(ranks, monkeypatch):
    started, begin = [], module.subprocess.Popen

    def refuse_the_second(*arguments, **how):
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(begin(*arguments, **how))
        return started[0]

    monkeypatch.setattr(module.subprocess, "Popen", refuse_the_second)
    with pytest.raises(ResourceError, match=r"only 1 of 3 processes .*Resource temporarily unavailable"):
        ranks(3, "exec sleep 60")
    assert started[0].wait(20) == -signal.SIGKILL


@pytest.mark.parametrize(("fails", "ends", "hangs"), [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_those_that_outlive_a_failed_one_are_ended(ranks, monkeypatch, fails, ends, hangs):
    monkeypatch.setattr(module, "_GRACE", 0.2)
    monkeypatch.setattr(module, "_END", 0.2)
    started = time.monotonic()
    script = f"case $RANK in {fails}) exit 3;; {ends}) ;; {hangs}) trap '' TERM;; esac; exec sleep 60"
    assert ranks(3, script) == 3  # one ends when asked, the other has to be killed
    assert time.monotonic() - started < 30


def test_one_that_the_system_does_not_end_is_not_waited_for(ranks, tmp_path, monkeypatch):
    for name in ("_GRACE", "_END"):
        monkeypatch.setattr(module, name, 0.2)
    monkeypatch.setattr(module.subprocess.Popen, "kill", lambda process: None)
    try:
        assert (
            ranks(2, f"test $RANK = 1 && exit 3; trap '' TERM; echo $$ > {tmp_path}/pid; exec sleep 60") == 3
        )
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("INT", 130), ("HUP", 129)])
def test_processes_that_end_before_they_can_answer_end_as_in_a_shell(ranks, name, code):
    assert ranks(2, f"kill -{name} $$; sleep 60") == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(ranks, tmp_path, number):
    before = signal.getsignal(number)

    def send():
        while len(list(tmp_path.glob("ready*"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    script = f"trap 'exit 130' INT; trap 'exit 143' TERM; trap 'exit 129' HUP; touch {tmp_path}/ready$RANK; "
    code = ranks(2, script + "while :; do sleep 0.05; done")
    thread.join()
    assert code == 128 + number
    assert signal.getsignal(number) == before


def test_what_the_parent_ignores_is_not_passed_on(ranks, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ranks(1, f"kill -HUP {os.getpid()}; sleep 0.2") == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
