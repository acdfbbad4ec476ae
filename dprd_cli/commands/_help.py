"""How commands are parsed and show their help: options by what they are for, then examples."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dprd_cli.commands._examples import EXAMPLES
from dprd_cli.commands._spelling import (
    add_aliases,
    explained,
    in_place_of_arguments,
    with_left_out_values,
)

#: Headings of commands, and of arguments and options, in the order in which help shows them.
LEARN = "Train and measure"
LOOK = "Detect and explain"
FILES = "Data and weights"
ABOUT = "About"
COMMANDS = "Commands"
ARGUMENTS = "Arguments"
INPUT = "Input"
DATA = "Data"
DETECTOR = "Detector"
DETECTIONS = "Detections"
TRAINING = "Training"
CONFIG = "Configuration"
STUDY = "Study"
MEASURE = "What is measured"
DRAWING = "Drawing"
OUTPUT = "Output"
MACHINE = "Machine"
GENERAL = "General"
PANELS = (
    LEARN,
    LOOK,
    FILES,
    ABOUT,
    COMMANDS,
    ARGUMENTS,
    INPUT,
    DATA,
    DETECTOR,
    DETECTIONS,
    TRAINING,
    CONFIG,
    STUDY,
    MEASURE,
    DRAWING,
    OUTPUT,
    MACHINE,
    GENERAL,
)

_NARROWEST, _WIDEST = 50, 200
_GAP = 2
_WIDEST_NAME = 30
#: Options of the program that every command takes too.
_EVERYWHERE = ("verbose", "quiet")

#: What a parameter is called and its help, by heading.
HelpSections = dict[str, list[tuple[str, str]]]


class HelpCommand(TyperCommand):
    """A command whose options are grouped, and that takes `--verbose` and `--quiet` as the program does."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's parameters, the program's shared ones, and `--help`."""
        *own, last = super().get_params(ctx)
        shared = [one for one in ctx.find_root().command.params if one.name in _EVERYWHERE]
        return [*own, *shared, last]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the command's name in its usage line."""
        return [*([self.options_metavar] if self.options_metavar else []), *_usage(ctx.command)]

    def get_help(self, ctx: Any) -> str:
        """Return the help page."""
        return help_page(self, ctx)

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser, which knows other spellings of the options too."""
        return add_aliases(super().make_parser(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line; what is wrong with it becomes one line."""
        with explained(ctx):
            whole = with_left_out_values(self, in_place_of_arguments(self, args))
            return super().parse_args(ctx, whole)


class HelpGroup(TyperGroup):
    """A command of commands."""

    def get_help(self, ctx: Any) -> str:
        """Return the help page."""
        return help_page(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line up to the name of the inner command."""
        with explained(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the inner command; a name that is none becomes one line."""
        with explained(ctx, commands=self.list_commands(ctx), given=args[:1]):
            return super().resolve_command(ctx, args)


class CommandApp(typer.Typer):
    """A typer app of such commands."""

    def __init__(self, **settings: Any) -> None:
        context = {"help_option_names": ["-h", "--help"]}
        defaults = {"cls": HelpGroup, "no_args_is_help": True, "context_settings": context}
        plain = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
        super().__init__(**{**defaults, **plain, **settings})

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Add a command; see typer."""
        return super().command(name, **{"cls": HelpCommand, **settings})


def help_page(command: Any, context: Any, *, width: int | None = None) -> str:
    """Return the help of a command as text with escape sequences, which `typer.echo` leaves out in files.

    Args:
        command: The command.
        context: Its context: the words that lead to it.
        width: Columns; the terminal's by default.
    """
    width = width or min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"{_strong('Usage:')} {usage}", ""]
    for paragraph in _about(command).split("\n\n"):
        lines += [*_wrapped(" ".join(paragraph.split()), width, "  "), ""]
    found = sections(command, context)
    names = [name for rows in found.values() for name, _ in rows]
    column = 2 + _GAP + max((len(name) for name in names if len(name) <= _WIDEST_NAME), default=0)
    for title, rows in found.items():
        lines.append(_strong(f"{title}:"))
        for name, text in rows:
            lines += _row(name, text, column, width)
        lines.append("")
    examples = EXAMPLES.get(" ".join(context.command_path.split()[1:]), ())
    if examples:
        lines.append(_strong("Examples:"))
        for purpose, line in examples:
            lines += [_faint(f"  # {purpose}"), f"  {line}"]
    return "\n".join(lines).rstrip()


def sections(command: Any, context: Any) -> HelpSections:
    """Return what the parameters and inner commands are called and what they do, by heading."""
    found: HelpSections = {}
    for child in getattr(command, "commands", {}).values():
        if not child.hidden:
            title = getattr(child, "rich_help_panel", None) or COMMANDS
            found.setdefault(title, []).append((child.name, child.get_short_help_str(limit=200)))
    for param in command.get_params(context):
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            found.setdefault(ARGUMENTS, []).append((_argument(param), param.help or ""))
        else:
            title = getattr(param, "rich_help_panel", None) or GENERAL
            found.setdefault(title, []).append((_option(param), _with_default(param)))
    known = [title for title in PANELS if title in found]
    return {title: found[title] for title in [*known, *(found.keys() - known)]}


def _about(command: Any) -> str:
    return (command.help or "").partition("\f")[0].strip()


def _usage(command: Any) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument" and not one.hidden]
    return [_argument(one) if one.required else f"[{_argument(one)}]" for one in arguments]


def _argument(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _option(param: Any) -> str:
    names = ", ".join(sorted(param.opts, key=len))  # -x, --long
    if param.secondary_opts:
        return f"{names} / {', '.join(param.secondary_opts)}"
    return names if param.is_flag else f"{names} {param.metavar or 'VALUE'}"


def _with_default(param: Any) -> str:
    """Return an option's help, with its default where that is a value that can be typed."""
    default, notes = param.default, []
    if (
        isinstance(default, str | int | float)
        and not isinstance(default, bool)
        and default not in ("", 0, -1)
    ):
        notes.append(f"default: {default}")
    if param.required:
        notes.append("required")
    return f"{param.help or ''} [{', '.join(notes)}]" if notes else param.help or ""


def _row(name: str, text: str, column: int, width: int) -> list[str]:
    first, *rest = _wrapped(text, width, " " * column) or [""]
    shown = f"  {_strong(name)}"
    if 2 + len(name) + _GAP > column:
        return [shown, first, *rest]
    return [shown + " " * (column - 2 - len(name)) + first[column:], *rest]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    wrapper = textwrap.TextWrapper(
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return wrapper.wrap(text)


def _strong(text: str) -> str:
    return text if "NO_COLOR" in os.environ else typer.style(text, bold=True)


def _faint(text: str) -> str:
    return text if "NO_COLOR" in os.environ else typer.style(text, dim=True)
