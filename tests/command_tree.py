"""The program's commands, and command lines that are parsed and not run."""

from typer.main import get_command

from dprd_cli import cli
from dprd_cli.runtime.progress import lines_on_stderr

ROOT_COMMAND = get_command(cli.app)


def _walk(words, command):
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(f"{words} {name}".strip(), inner)


#: Words after `dprd` -> command: the program itself, its commands and theirs.
COMMANDS = dict(_walk("", ROOT_COMMAND))
#: Those that hold no others.
LEAVES = {words: command for words, command in COMMANDS.items() if not hasattr(command, "commands")}


def flags_of(command):
    """Return all names of a command's options and arguments."""
    return {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}


def parse(words):
    """Parse a command line as the program does, do nothing else, and return the command's context."""
    with lines_on_stderr():
        context = ROOT_COMMAND.make_context("dprd", list(words))
        rest = [*context._protected_args, *context.args]
        while rest:
            name, command, rest = context.command.resolve_command(context, rest)
            context = command.make_context(name, rest, parent=context)
            rest = [*getattr(context, "_protected_args", ()), *context.args]
    return context
