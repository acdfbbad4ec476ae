"""Lines for the terminal: whatever is in a text, it stays one line that is only text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dprd_cli import cli
from dprd_cli.errors import DataError, one_line


@given(st.text(st.characters(), max_size=99))
def test_a_line_is_printable_and_keeps_what_is(text):
    line = one_line(text)
    assert line.isprintable()
    if text.isprintable():
        assert line == text


def test_what_is_not_printable_is_shown_as_python_writes_it():
    assert one_line("a\x1b[31mb\nc\u202ed\udc80\x9b\u2028") == r"a\x1b[31mb\nc\u202ed\udc80\x9b\u2028"
    assert one_line("Ä 東京 🙂") == "Ä 東京 🙂"


def test_of_a_long_text_the_ends_are_kept():
    line = one_line("begin" + "x" * 100_000 + "end", longest=30)
    assert line.startswith("begin")
    assert line.endswith("xend")
    assert len(line) == 30 + len(" ... ")


@pytest.mark.parametrize("kind", [DataError, OSError])
def test_an_error_is_one_line_whatever_it_says(monkeypatch, capsys, kind):
    def fail(**_):
        raise kind("a\x1b]0;title\x07\nb" + "c" * 9999)

    monkeypatch.setattr(cli, "app", fail)
    assert cli.run(["env"]) in (1, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert len(line) < 2000
