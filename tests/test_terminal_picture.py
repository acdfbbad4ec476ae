"""The picture of a terminal: what is on the screen after what was printed, and a command in a real one."""

import importlib.util
import sys

import pytest

from paths import ROOT

SCRIPT = ROOT / "scripts" / "terminal_picture.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("terminal_picture", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        ("a\r\nb", "a\nb"),
        ("abc\rX", "Xbc"),
        ("abc\r\x1b[2KX", "X"),
        ("one\r\ntwo\r\x1b[2K\x1b[1A\x1b[2KONE\r\nTWO", "ONE\nTWO"),
        ("\x1b[?25l\x1b[32mgreen\x1b[0m", "green"),
        ("abcdef", "abcd\nef"),  # four columns
        ("ab\x1b[1", "ab"),
    ],
)
def test_the_screen_is_what_was_printed_last(script, printed, seen):
    screen = script.Screen(4 if printed == "abcdef" else 40)
    for character in printed:  # as a terminal may give it
        screen.feed(character)
    assert screen.text() == seen


def test_colours_stay_and_empty_lines_at_the_end_do_not(script):
    screen = script.Screen(40)
    screen.feed("\x1b[32mg\x1b[0mw\r\n \r\n\r\n")
    assert screen.lines() == ["\x1b[32mg\x1b[0mw"]
    drawn = script.draw(screen.lines(), 40)
    assert drawn.startswith("<svg")
    assert "url(http" not in drawn  # nothing is fetched by who looks at it


def test_a_moment_of_a_command_and_its_end(script):
    program = "import sys; print('first', sys.stdout.isatty()); print('second')"
    command = [sys.executable, "-c", program]
    assert script.watch(command, 80, "first True\n")[0] == "first True"
    assert len(script.watch(command, 80, "never")) == 2
    with pytest.raises(SystemExit, match=r"exit code 3"):
        script.watch([sys.executable, "-c", "raise SystemExit(3)"], 80, "")
    assert script.watch([sys.executable, "-c", "raise SystemExit('oh')"], 80, "", any_code=True) == ["oh"]


def test_several_commands_are_one_picture(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", f"--out={tmp_path}/a.svg", "--", "echo", "one", ";", "echo", "two"])
    script.main()
    drawn = (tmp_path / "a.svg").read_text().replace("&#160;", " ")
    assert [word in drawn for word in ("$ echo one", ">one<", "$ echo two", ">two<")] == [True] * 4
