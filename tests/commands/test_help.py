"""Every help page: groups, names of values, examples; and what `-v` and `-q` do."""

import logging
import re
import shlex

import pytest
import typer

from command_tree import COMMANDS, ROOT_COMMAND, parse
from dprd_cli import cli
from dprd_cli.commands._examples import EXAMPLES
from dprd_cli.commands._help import GENERAL, PANELS, help_page, sections
from dprd_cli.runtime.progress import LOGGER, say
from paths import ROOT

each = pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words or "dprd")


def context_of(words):
    context = typer.Context(ROOT_COMMAND, info_name="dprd")
    for word in words.split():
        context = typer.Context(context.command.commands[word], info_name=word, parent=context)
    return context


def page(words, width):
    context = context_of(words)
    return re.sub(r"\x1b\[[0-9;]*m", "", help_page(context.command, context, width=width))


def test_every_command_has_examples_and_no_other_has():
    assert EXAMPLES.keys() == COMMANDS.keys()


@each
def test_examples_parse_are_of_the_command_and_fit_into_80_columns(words):
    assert 2 <= len(EXAMPLES[words]) <= 4
    for purpose, line in EXAMPLES[words]:
        line = line.partition(" > ")[0]
        program, *arguments = shlex.split(line)
        assert program == "dprd"
        found = parse(arguments)
        assert found.command_path.startswith(f"dprd {words}".strip())
        assert max(len(purpose) + 4, len(line) + 2) <= 80
        assert not getattr(found.command, "commands", None), line


@each
def test_options_are_grouped_and_values_have_names_that_people_read(words):
    context = context_of(words)
    assert [title for title in sections(context.command, context) if title not in PANELS] == []
    for param in context.command.params:
        if param.hidden:
            continue
        assert param.help, param.name
        if param.param_type_name == "argument":
            assert param.metavar
        elif words and param.name != "help":
            assert param.rich_help_panel, param.opts
            assert param.is_flag or param.metavar, param.opts
    if words and not hasattr(context.command, "commands"):
        assert [name for name, _ in sections(context.command, context)[GENERAL]] == [
            "-v, --verbose",
            "-q, --quiet",
            "-h, --help",
        ]


@each
@pytest.mark.parametrize("width", [72, 80, 120])
def test_a_page_has_the_width_that_there_is_and_no_types_of_python(words, width):
    text = page(words, width)
    lines = text.splitlines()
    examples = next(i for i, line in enumerate(lines) if line == "Examples:")
    long = [line for line in lines[:examples] if len(line) > width]
    assert long == []
    assert "<" not in text.replace("<preset>-<backbone>-<data>-<n>", "").replace("<split>", "")
    assert "typer" not in text.lower()


def test_a_wide_terminal_is_filled(monkeypatch, capsys):
    shown = {}
    for width in (80, 120, 999):
        monkeypatch.setenv("COLUMNS", str(width))
        assert cli.run(["predict", "--help"]) == 0
        shown[width] = capsys.readouterr().out.splitlines()
    assert max(map(len, shown[80])) <= 80 < max(map(len, shown[120])) <= 120
    assert len(shown[120]) < len(shown[80])
    assert max(map(len, shown[999])) <= 200


def test_no_color_is_heeded(monkeypatch):
    context = context_of("env")
    assert "\x1b[1m" in help_page(context.command, context)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in help_page(context.command, context)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("env", logging.INFO),
        ("env -q", logging.ERROR),
        ("--quiet env", logging.ERROR),
        ("env --verbose", logging.DEBUG),
        ("-v env", logging.DEBUG),
        ("config schema -q", logging.ERROR),
    ],
)
def test_how_much_is_told_before_and_after_the_command(monkeypatch, capsys, line, level):
    seen = []

    def look(*_, **__):
        seen.append(LOGGER.getEffectiveLevel())
        say("a line")

    monkeypatch.setattr("dprd_cli.runtime.environment.describe_environment", look)
    monkeypatch.setattr("dprd_cli.config.provenance.json_schema", look)
    cli.run(line.split())
    assert seen == [level]
    told = capsys.readouterr().err
    assert ("a line\n" in told) == (level < logging.ERROR)
    assert ("\ntook " in told) == (level == logging.DEBUG)
    assert LOGGER.level == logging.NOTSET


def test_the_figure_of_the_documentation_is_there():
    assert (ROOT / "docs" / "figures" / "help.svg").is_file()
