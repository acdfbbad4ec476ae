"""Draws the help and what slips of the finger get, as a terminal shows them: docs/figures/help.svg.

python scripts/draw_help.py
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "help.svg"
WIDTH = 96
LINES = ("dprd --help", "dprd trian --data DATA", "dprd train --imgsz 640")
_PROMPT = "$ "


def on_terminal(line: str) -> str:
    """Return what a command line of `dprd` prints on a terminal, escape sequences included."""
    here, there = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "dprd_cli", *line.split()[1:]]
    with subprocess.Popen(command, stdout=there, stderr=there, stdin=there, env=environment):
        os.close(there)
        pieces = []
        while True:
            try:
                piece = os.read(here, 2**16)
            except OSError:  # the program has ended
                break
            if not piece:
                break
            pieces.append(piece)
    os.close(here)
    return b"".join(pieces).decode().replace("\r\n", "\n").rstrip("\n")


def draw(lines: tuple[str, ...], out: Path) -> None:
    """Write a terminal with command lines and what they print as SVG, without fonts from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    for number, line in enumerate(lines):
        if number:
            console.print()
        console.print(Text(_PROMPT, style="green") + Text(line, style="bold"))
        console.print(Text.from_ansi(on_terminal(line)), soft_wrap=True)
    drawn = console.export_svg(title="dprd", theme=MONOKAI)
    out.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=FIGURE, help="by default docs/figures/help.svg")
    draw(LINES, parser.parse_args().out)


if __name__ == "__main__":
    main()
