"""`dprd config`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import CONFIG, DATA, OUTPUT, CommandApp
from dprd_cli.commands._options import Backbone, Json, Overrides, Plugins, check_backbone, print_json, say

config_app = CommandApp()

_WHAT = "Preset, TOML file, run folder, checkpoint, 'voc', 'demo' or published weights"


@config_app.callback()
def _config() -> None:
    """Show, compare and document configurations."""


@config_app.command("show")
def show(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", autocompletion=_complete.presets, help=f"{_WHAT}; cascade-dprd by default."
        ),
    ] = "",
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME",
            autocompletion=_complete.schedules,
            help="1x, 3x, voc, photos or small.",
            rich_help_panel=CONFIG,
        ),
    ] = None,
    backbone: Backbone = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DIR", help="The data's folder; it is not looked at.", rich_help_panel=DATA
        ),
    ] = None,
    overrides: Overrides = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Leave out what is as by default.", rich_help_panel=OUTPUT)
    ] = False,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Print every value that a training would have, with where it comes from, as TOML for --config."""
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.config.provenance import explain
    from dprd_cli.weights.named_config import named_base

    load_plugins(plugins or [])
    flags = {"model.backbone.name": check_backbone(backbone), "data.path": data}
    found = explain(named_base(spec), schedule=schedule, flags=flags, overrides=overrides or [])
    if as_json:
        print_json(found.to_json(changed=changed))
    else:
        typer.echo(found.to_toml(changed=changed), nl=False)


@config_app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(metavar="WHAT", autocompletion=_complete.presets, help=f"{_WHAT}.")],
    second: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            autocompletion=_complete.presets,
            help="The same. Without it, WHAT is compared with its own preset and schedule.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Compare two configurations, key by key."""
    from dprd_cli.weights.named_config import compare_configs

    found = compare_configs(first, second)
    if as_json:
        print_json(found.to_json())
        return
    for key, (a, b) in found.differences.items():
        typer.echo(f"{key}: {json.dumps(a)} -> {json.dumps(b)}")
    count = len(found.differences)
    say(f"{count or 'no'} difference{'s' if count != 1 else ''}: {found.first} -> {found.second}")


@config_app.command("schema")
def schema(as_json: Json = False) -> None:
    """Print the JSON schema of the configuration, for editors; it is JSON without --json too."""
    from dprd_cli.config.provenance import json_schema

    del as_json  # it is taken, so that every command takes it
    print_json(json_schema())
