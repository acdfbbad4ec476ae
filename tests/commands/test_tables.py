from rich.table import Table

from dprd_cli.commands._tables import LiteralConsole, print_rows
from dprd_cli.runtime.progress import lines_on_stderr, say

NAMES = ["[/red]", "[t-72]", "[bold]x[/bold]", ":smile:", "a\x1b[2Jb"]


def test_names_are_text_and_not_markup(capsys):
    print_rows("[/class]", ("[red]n",), [(name, "1") for name in NAMES])
    out = capsys.readouterr().out
    assert all(name in out for name in (*NAMES[:4], r"a\x1b[2Jb", "[/class]", "[red]n"))
    assert "\x1b" not in out


def test_headings_may_have_two_lines(capsys):
    console = LiteralConsole()
    table = Table("two\nlines")
    table.add_row("[/]")
    console.print(table, "[/x]")
    out = capsys.readouterr().out
    assert "two" in out.splitlines()[1]
    assert "lines" in out.splitlines()[2]
    assert "[/]" in out
    assert "[/x]" in out


def test_what_is_said_is_one_line(capsys):
    with lines_on_stderr():
        say("results: a\nb\x1b[31m")
    assert capsys.readouterr().err == "results: a\\nb\\x1b[31m\n"
