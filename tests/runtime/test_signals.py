"""Signals that ask a run to stop are noted; only impatience ends it."""

import os
import signal
import threading

import pytest

from dprd_cli.runtime.signals import StopRequest


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_noted_and_told_once(number, code, capsys):
    with StopRequest() as stop:
        assert stop.exit_code == 0
        send(number)
        assert stop.exit_code == code
    assert capsys.readouterr().err == "stopping after this step, to save; Ctrl-C again quits at once\n"


def test_a_second_ctrl_c_quits_and_a_second_term_does_not():
    with StopRequest() as stop:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert stop.exit_code == 143


def test_of_several_processes_the_main_one_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with StopRequest() as stop:
        send(signal.SIGINT)
        assert stop.exit_code == 130
    assert capsys.readouterr().err == ""


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_forked_helpers_end_by_term_alone():
    with StopRequest():
        pid = os.fork()
        if pid == 0:
            send(signal.SIGINT)  # a terminal sends it to all: the run decides
            send(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 143


def test_in_a_thread_signals_stay_the_program_s():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter():
        with StopRequest():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
