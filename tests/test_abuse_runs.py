"""`scripts/abuse_runs.py`: what it does to a run, and a small part of it; docs/training.md has all of it."""

import importlib.util
import random
import signal

import pytest
import torch

from paths import ROOT


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("abuse_runs", ROOT / "scripts" / "abuse_runs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shell(text):
    return ["sh", "-c", text]


def test_a_life_is_over_when_all_its_processes_are(script):
    code, text, sent = script.live(shell("sleep 0.5 & echo gone >&2; exit 3"), script.Fault())
    assert (code, text, sent) == (3, "gone\n", False)


@pytest.mark.parametrize(("target", "code"), [(1.0, -9), (0.0, 137)])
def test_signals_reach_the_process_or_one_that_it_has_started(script, target, code):
    command = shell("sleep 1 & wait $! 2>/dev/null; exit $?")
    ended, _, befallen = script.live(command, script.Fault(signal.SIGKILL, 0.2, target))
    assert (ended, befallen) == (code, True)


def test_from_its_moment_on_a_disk_is_full_for_large_files(script, tmp_path):
    write = "head -c 2000 /dev/zero"
    command = shell(f"{write} > {tmp_path}/a; sleep 0.6; {write} > {tmp_path}/b; exit 5")
    assert script.live(command, script.Fault(delay=0.3, largest_file=1000))[0] == 5
    assert [(tmp_path / name).stat().st_size for name in "ab"] == [2000, 1000]


def test_all_but_times_is_compared_to_the_bit(script):
    one = {"step": 1, "model": [torch.ones(2)], "data_wait": 0.5}
    assert script.is_equal(one, one | {"data_wait": 0.7})
    for other in (one | {"step": 2}, one | {"more": 1}, one | {"model": [torch.ones(2) + 1e-7]}, {"step": 1}):
        assert not script.is_equal(one, other)


@pytest.mark.slow
def test_killed_and_resumed_in_two_processes(script, monkeypatch, capsys):
    monkeypatch.setitem(script.SETTINGS, "steps", 3)
    small = ["--processes", "2", "--kills", "1", "--disks", "0", "--signals", "0"]
    assert script.main(small) == 0
    _, kills, *_ = capsys.readouterr().out.splitlines()
    assert kills.split()[:4] == ["2", "kill", "-9", "1"]


def test_a_run_that_says_more_than_a_line_is_wrong(script, tmp_path, monkeypatch):
    each = iter([(-9, "Traceback", True), (0, "", False)])
    monkeypatch.setattr(script, "live", lambda *_: next(each))
    monkeypatch.setattr(script, "content", lambda run: run.name)  # each run is another
    straight = script.StraightRun(tmp_path / "straight", 1, 1.0)
    lives, runs, ends, wrong = script.abuse(straight, "kill -9", 1, random.Random(0))
    assert (lives, ends[-9], ends.total(), len(runs)) == (2, 1, 1, 1)
    assert "exit code -9: Traceback" in wrong[0]
    assert wrong[1].endswith("kill-1-1 differs")
