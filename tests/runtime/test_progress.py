"""What the library tells: lines, bars, and who speaks."""

import io
import logging
import sys
import threading

import pytest

from dprd_cli.runtime.progress import (
    LOGGER,
    Work,
    counted,
    in_words,
    lines_on_stderr,
    on_terminal,
    progress,
    say,
    stage,
)


@pytest.fixture
def second(monkeypatch):
    """Be the second of two processes."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")


def test_the_library_speaks_through_logging(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="dprd_cli"):
        say("100 % of %s")
    assert [record.getMessage() for record in caplog.records] == ["100 % of %s"]
    assert capsys.readouterr() == ("", "")


def test_the_command_line_shows_lines_on_stderr_while_it_runs(capsys):
    before = LOGGER.level, list(LOGGER.handlers)
    with lines_on_stderr():
        say("one\nline")
    say("nobody listens")
    assert (LOGGER.level, list(LOGGER.handlers)) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("one")


@pytest.mark.usefixtures("second")
def test_of_several_processes_the_main_one_speaks(capsys):
    with lines_on_stderr():
        say("a line")
    assert capsys.readouterr().err == ""


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (2160, "36 min"), (17_640, "4.9 h"), (267_840, "3.1 days")]
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words


def test_a_work_says_how_far_how_fast_and_how_long(clock):
    work = Work("detect", "images", clock=clock)
    clock.now = 3.0
    assert work.words() == "3 s"
    clock.now = 4.0
    work(8, 2000)
    assert work.words() == "8 of 2,000 images, 2.0 images/s, 17 min left"  # 1992 / 2 s
    clock.now = 5.0
    work(108, 2000)  # 108 in 5 s
    assert work.words() == "108 of 2,000 images, 22 images/s, 88 s left"
    work(2000, 2000)
    assert work.words() == "2,000 of 2,000 images, 400 images/s"


def test_what_is_slow_is_said_per_item_and_a_total_need_not_be_known(clock):
    work = Work("ablate", "runs", clock=clock)
    clock.now = 25.0
    work(10, 0)
    assert work.words() == "10 runs, 2.5 s each"
    work.note = "loss 0.5"
    assert work.words() == "10 runs, 2.5 s each, loss 0.5"
    slow = Work("ablate", "runs", clock=clock)
    clock.now += 600
    slow(1, 3)
    assert slow.words() == "1 of 3 runs, 10 min each, 20 min left"


def test_a_speed_is_that_of_late(clock):
    work = Work("train", "steps", clock=clock)
    for second in range(1, 201):
        clock.now = float(second)
        work(second if second <= 100 else 100 + 2 * (second - 100), 1000)
    assert work.speed == pytest.approx(2.0)


def test_another_series_and_what_was_done_before_do_not_count(clock):
    work = Work("check", "images", clock=clock)
    clock.now = 1.0
    work(100, 100)
    clock.now = 2.0
    work(10, 50)  # the next split
    clock.now = 3.0
    work(20, 50)
    assert work.speed == pytest.approx(10.0)
    resumed = Work("train", "steps", clock=clock)
    resumed.begin(900, 1000)
    clock.now = 5.0
    resumed(901, 1000)
    assert resumed.speed == pytest.approx(0.5)


def test_lines_are_ten_seconds_apart_and_later_a_tenth_of_the_time(clock, monkeypatch):
    monkeypatch.setattr("dprd_cli.runtime.progress.EVERY", 10.0)
    work, told = Work("detect", "images", clock=clock), []
    for second in range(1, 301):
        clock.now = float(second)
        work(second, 1000)
        if line := work.line():
            told.append((second, line))
    # from 100 s on the gap is a tenth: 100 -> 112, since 11 s are not yet a tenth of 111
    assert [second for second, _ in told][:11] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 112]
    assert told[0][1] == "detect: 10 of 1,000 images, 1.0 images/s, 16 min left"
    silent = Work("train", "steps", lines=False, clock=clock)
    clock.now += 100
    assert silent.line() == ""


def test_short_work_is_silent_where_there_is_no_terminal(capsys):
    with lines_on_stderr(), progress("checking") as show, stage("reading"):
        show(1, 3)
        show(3, 3)
    assert capsys.readouterr() == ("", "")
    assert list(counted("ab", "looking", 2)) == ["a", "b"]


def test_long_work_tells_lines_on_its_own(monkeypatch):
    told = threading.Event()
    monkeypatch.setattr("dprd_cli.runtime.progress.EVERY", 0.001)
    monkeypatch.setattr("dprd_cli.runtime.progress.say", lambda line: told.set() or lines.append(line))
    lines = []
    with stage("trace the network"):
        assert told.wait(60)  # nobody calls anything meanwhile
    assert lines[0] == "trace the network: 0 s"
    assert not any(thread.name == "progress" and thread.is_alive() for thread in settled(threading.enumerate))


def settled(threads):
    """Wait for the threads that are about to end."""
    for thread in threads():
        if thread.name == "progress":
            thread.join(60)
    return threads()


@pytest.fixture
def terminal(monkeypatch):
    """Let stderr be a terminal, whatever pytest makes of it."""
    monkeypatch.setattr("dprd_cli.runtime.progress._is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_how_far_it_is(capsys):
    with progress("checking [/red]") as show:
        show(1, 4)
        print("a result")
        with stage("inside"):
            pass
    out, err = capsys.readouterr()
    assert out == "a result\n"
    assert "checking [/red]" in err
    assert "1 of 4 images" in err
    assert "inside" in err


@pytest.mark.usefixtures("terminal")
def test_lines_move_above_the_bars(capsys):
    with lines_on_stderr(), progress("checking"):
        say("skipped: a.png")
    assert "skipped: a.png" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_terminal_that_goes_away_ends_nothing(monkeypatch):
    class Gone(io.StringIO):
        def isatty(self):
            return True

        def write(self, text):
            raise OSError(5, "Input/output error")

        flush = write

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", Gone())
        with progress("checking") as show:
            show(1, 2)
            show(2, 2)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
@pytest.mark.usefixtures("terminal")
def test_a_terminal_that_cannot_go_back_gets_lines(term, monkeypatch):
    assert on_terminal()
    monkeypatch.setenv("TERM", term)
    assert not on_terminal()


@pytest.mark.usefixtures("second", "terminal")
def test_of_several_processes_the_main_one_shows_bars(capsys):
    with progress("checking") as show:
        show(1, 2)
    assert capsys.readouterr() == ("", "")
