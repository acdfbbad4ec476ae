"""Command lines that are spelled otherwise: what is meant is done, or said."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from dprd_cli.config.spellings import ARGUMENT_OPTIONS, LEFT_OUT_VALUES, NEAR_OPTIONS, SAME_OPTIONS
from dprd_cli.errors import UsageError

_LEAST_LIKENESS = 0.6


def add_aliases(parser: Any, context: Any) -> Any:
    """Let a parser know other spellings of its options, and return it."""
    known = {name: param for param in context.command.get_params(context) for name in param.opts}
    for alias, name in SAME_OPTIONS.items():
        if name in known and alias not in known:
            twin = copy.copy(known[name])
            twin.opts, twin.secondary_opts = [alias], []
            twin.add_to_parser(parser, context)
    return parser


def in_place_of_arguments(command: Any, line: Sequence[str]) -> list[str]:
    """Return a command line where what is named like an option, and is an argument, stands first as such."""
    taken = {name for param in command.params for name in param.opts}
    arguments = {param.name for param in command.params if param.param_type_name == "argument"}
    moved, rest, words = list[str](), list[str](), iter(line)
    for word in words:
        name, sign, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif name in taken or arguments.isdisjoint(ARGUMENT_OPTIONS.get(name, ())):
            rest.append(word)
        elif sign:
            moved.append(value)
        elif (following := next(words, None)) is not None:
            moved.append(following)
        else:
            rest.append(word)
    return [*moved, *rest]


def with_left_out_values(command: Any, line: Sequence[str]) -> list[str]:
    """Return a command line where options whose value may be left out have one."""
    known = {name for param in command.params for name in param.opts} & LEFT_OUT_VALUES.keys()
    end = line.index("--") if "--" in line else len(line)
    whole: list[str] = []
    for word, following in zip(line[:end], [*line[1:end], ""], strict=False):
        whole.append(word)
        if word in known and not LEFT_OUT_VALUES[word][1].fullmatch(following):
            whole.append(LEFT_OUT_VALUES[word][0])
    return [*whole, *line[end:]]


@contextmanager
def explained(context: Any, commands: Sequence[str] = (), given: Sequence[str] = ()) -> Iterator[None]:
    """Turn what the parser says is wrong into one line.

    Args:
        context: The command's whose line is parsed.
        commands: Names of inner commands, where one of them was to be found.
        given: The name that was given for it.

    Raises:
        UsageError: With what was meant, where that can be told.
    """
    try:
        yield
    except Exception as error:
        told = getattr(error, "format_message", None)
        if told is None or type(error).__name__ == "NoArgsIsHelpError":
            raise
        option = getattr(error, "option_name", None)
        if given and not option:
            line = f"no command '{given[0]}'{_nearest(given[0], commands)}"
        elif option and type(error).__name__ == "NoSuchOption":
            line = f"no option {option}{_meant(option, context)}"
        else:
            line = _plain(error, str(told()))
        more = "" if line.endswith("?") else f"; see `{context.command_path} --help`"
        raise UsageError(f"{line}{more}") from error


def _plain(error: Any, message: str) -> str:
    """Return what the parser says, beginning with the option or argument that it is about."""
    param, text = getattr(error, "param", None), str(getattr(error, "message", "")).rstrip(".")
    if param is None:
        return message[:1].lower() + message[1:].rstrip(".")
    name = max(param.opts, key=len) if param.param_type_name == "option" else param.metavar or param.name
    text = text.partition(", unable to parse")[0].replace("Input should be", "expected")
    return f"{name}: {text}" if text else f"{name} is missing"


def _meant(option: str, context: Any) -> str:
    """Return `; did you mean --x`, where the command has something like an unknown option."""
    params = [one for one in context.command.get_params(context) if not getattr(one, "hidden", False)]
    known = {name: param for param in params for name in param.opts if name.startswith("--")}
    for near in NEAR_OPTIONS.get(option, ()):
        name, _, value = near.partition(" ")
        if name in known:
            about = "" if value else f" ({_clause(known[name].help)})"
            return f"; did you mean {near}{about}?"
    return _nearest(option, sorted(known))


def _clause(text: str) -> str:
    """Return the first clause of an option's help, as it stands inside a sentence."""
    first = re.split("[.;:] ", text.rstrip("."))[0]
    return first[:1].lower() + first[1:]


def _nearest(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=_LEAST_LIKENESS)
    return f"; did you mean {near[0]}?" if near else ""
