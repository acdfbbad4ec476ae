r"""Draws what a terminal shows while commands run, as SVG: text that can be read and selected at any size.

    python scripts/terminal_picture.py --out train.svg --until 'evaluate' -- dprd train --steps 60
    python scripts/terminal_picture.py --out docs/figures/help.svg --columns 96 --last 100 --any-code -- \
        dprd --help \; dprd trian --data DATA \; dprd train --imgsz 640

Each command runs in a terminal of its own, to its end; the picture is of the moment at which its screen first
matches `--until`, or of the end. Names of files below the working folder are shown without it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shlex
import struct
import sys
import termios
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from dprd_cli.files.atomic import write_bytes

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")
#: rich's own, without a frame of buttons and without a font that the reader's browser would have to fetch.
_FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" class="rich-terminal">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect fill="#1b1c20" width="{width}" height="{height}" rx="10"/>
<g transform="translate(9, 24)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


class Screen:
    """The lines of a terminal, with what moves the cursor as far as rich's bars need it.

    Args:
        columns: Width, characters.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[list[tuple[str, str]]] = [[]]  # (style, character)
        self._row = self._column = 0
        self._style = ""
        self._rest = ""

    def feed(self, text: str) -> None:
        """Show what a program printed; an escape sequence may be cut anywhere."""
        text = self._rest + text
        cut = re.search(r"\x1b(\[[0-9;?]*)?$", text)
        self._rest = cut[0] if cut else ""
        for token in _TOKEN.finditer(text[: len(text) - len(self._rest)]):
            numbers, letter, back, down, character = token.groups()
            if letter:
                self._control(numbers, letter)
            elif back:
                self._column = 0
            elif down:
                self._down()
            else:
                self._put(character)

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "m":
            self._style = "" if numbers in ("", "0") else f"{self._style}\x1b[{numbers}m"
        elif letter == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif letter == "K":
            del self._rows[self._row][0 if numbers == "2" else self._column :]

    def _down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._rows):
            self._rows.append([])

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._down()
        row = self._rows[self._row]
        row += [("", " ")] * (self._column - len(row))
        row[self._column : self._column + 1] = [(self._style, character)]
        self._column += 1

    def lines(self) -> list[str]:
        """Return the lines with their colours, without empty ones at the end."""
        lines = [
            "".join(_coloured(style, cells) for style, cells in groupby(row, _style)) for row in self._rows
        ]
        while lines and not re.sub(r"\x1b\[[0-9;]*m", "", lines[-1]).strip():
            lines.pop()
        return lines

    def text(self) -> str:
        """Return the lines without colours."""
        return "\n".join("".join(character for _, character in row) for row in self._rows)


def _style(cell: tuple[str, str]) -> str:
    return cell[0]


def _coloured(style: str, cells: Iterable[tuple[str, str]]) -> str:
    text = "".join(character for _, character in cells)
    return f"{style}{text}\x1b[0m" if style else text


def watch(command: Sequence[str], columns: int, until: str, *, any_code: bool = False) -> list[str]:
    """Run a command in a terminal; return the lines of the moment that is asked for.

    Args:
        command: Its words.
        columns: Width of the terminal.
        until: Pattern that the whole screen has to match; the end where it never does.
        any_code: Whether it may fail.

    Raises:
        SystemExit: If the command fails, but may not.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    screen, found = Screen(columns), None
    while chunk := _read(terminal):
        screen.feed(chunk.decode("utf-8", errors="replace"))
        if found is None and until and re.search(until, screen.text()):
            found = screen.lines()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code and not any_code:
        sys.exit(f"{screen.text()}\n{shlex.join(command)}: exit code {code}")
    return found or screen.lines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the program has ended
        return b""


def draw(lines: Sequence[str], columns: int) -> str:
    """Return lines with their colours as SVG."""
    console = Console(record=True, width=columns, file=StringIO(), highlight=False, force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_svg(theme=DIMMED_MONOKAI, code_format=_FORMAT, unique_id="terminal")


def main() -> None:
    """Run the commands and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the SVG file")
    parser.add_argument("--until", default="", metavar="PATTERN", help="the moment; by default the end")
    parser.add_argument("--columns", type=int, default=104)
    parser.add_argument("--last", type=int, default=40, help="lines at most")
    parser.add_argument("--any-code", action="store_true", help="commands may fail")
    parser.add_argument("command", nargs="+", help="its words; ';' is between commands")
    options = parser.parse_args()
    lines: list[str] = []
    for ends, words in groupby(options.command, ";".__eq__):
        if ends:
            lines.append("")
            continue
        command = list(words)
        typed = Screen(options.columns)
        typed.feed(f"\x1b[1m$ {shlex.join(command)}\x1b[0m")
        lines += typed.lines()
        lines += watch(command, options.columns, options.until, any_code=options.any_code)
    shown = [line.replace(f"{Path.cwd()}/", "") for line in lines[-options.last :]]
    write_bytes(options.out, draw(shown, options.columns).encode())


if __name__ == "__main__":
    main()
