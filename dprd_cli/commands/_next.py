"""Next steps after a command: lines that work as they are printed, in a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import typer

from dprd_cli.commands._options import say


def say_next(*commands: Sequence[str]) -> None:
    """Say what comes next: one line, or one for each command under a heading.

    Args:
        commands: Words of each command after `dprd`; they are quoted for a shell.
    """
    lines = [shlex.join(["dprd", *words]) for words in commands]
    if len(lines) == 1:
        say(f"next: {lines[0]}")
        return
    say("next:")
    for line in lines:
        say(f"  {line}")


def given_again(context: typer.Context, *, without: Sequence[str]) -> list[str]:
    """Return the options of the command line that is being run.

    Args:
        context: The command's.
        without: Names of parameters to leave out.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [parameter.opts[0], str(one)]
    return words


def folder_of_images(path: Path) -> Path | None:
    """Return the first folder at or below a path that holds images, or None."""
    from dprd_cli.files.images import has_image_suffix

    for place, folders, names in os.walk(path):
        folders.sort()
        if any(map(has_image_suffix, names)):
            return Path(place)
    return None
