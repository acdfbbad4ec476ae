"""What the library tells: lines, bars, and who speaks."""

import logging
import sys

import pytest

from dprd_cli.runtime.progress import LOGGER, lines_on_stderr, progress, say


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


def test_there_is_no_bar_where_nobody_sees_it(capsys):
    with progress("checking") as update:
        update(1, 3)
        update(3, 3)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("checking [/red]") as update:
        update(1, 4)
    err = capsys.readouterr().err
    assert "checking [/red]" in err
    assert "25%" in err
