"""`dprd weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands._help import DETECTOR, OUTPUT, CommandApp
from dprd_cli.commands._options import Json, check_backbone, print_json, say
from dprd_cli.errors import one_line

if TYPE_CHECKING:
    from dprd_cli.weights.zoo import PublishedWeights

weights_app = CommandApp()

_Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A name that `dprd weights list` shows, imagenet, or hf:ORG/NAME."),
]
_Backbone = Annotated[
    str,
    typer.Option(
        "--backbone",
        metavar="NAME",
        help="With imagenet: whose weights are wanted.",
        rich_help_panel=DETECTOR,
    ),
]


@weights_app.callback()
def _weights() -> None:
    """List, fetch and inspect published weights."""


@weights_app.command("list")
def list_weights(json: Json = False) -> None:
    """List the published weights that --weights and --backbone-weights take."""
    from dprd_cli.files.downloads import download_folder
    from dprd_cli.weights.zoo import ZOO

    folder = download_folder()
    here = {name: (folder / file.file_name).is_file() for name, file in ZOO.items()}
    if json:
        rows = [{"name": name, **file.to_json(), "fetched": here[name]} for name, file in ZOO.items()]
        print_json({"folder": str(folder), "weights": rows})
        return
    from rich.table import Column, Table

    from dprd_cli.commands._tables import LiteralConsole

    table = Table(Column("name", no_wrap=True, overflow="fold"), "network", "for", "here", box=None)
    for name, file in ZOO.items():
        option = "--weights" if file.preset else "--backbone-weights"
        table.add_row(name, f"{file.preset} {file.backbone}".strip(), option, "yes" if here[name] else "")
    console = LiteralConsole()
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    say(
        f"downloads are kept in {folder}; 'imagenet' (torchvision's backbones), 'demo' and "
        "'demo-cascade-mrcnn' are names too"
    )


@weights_app.command("fetch")
def fetch_weights(name: _Name, backbone: _Backbone = "r50", json: Json = False) -> None:
    """Download published weights, check them, and print where they lie."""
    from dprd_cli.weights.fetch import fetch_file
    from dprd_cli.weights.hub import fetch_hub, is_hub

    if is_hub(name):
        found = fetch_hub(name)
        if json:
            print_json({"name": name, **found.to_json()})
        else:
            typer.echo(one_line(found.path))
        return
    file = _find(name, backbone)
    path = fetch_file(file.url, file.file_name, file.sha256)
    if json:
        print_json({"name": name, **file.to_json(), "path": str(path)})
    else:
        typer.echo(one_line(path))


@weights_app.command("show")
def show_weights(
    spec: Annotated[str, typer.Argument(metavar="NAME|FILE|RUN", help="Published weights, or a file.")],
    keys: Annotated[
        bool,
        typer.Option("--keys", help="List every tensor and the one it comes from.", rich_help_panel=OUTPUT),
    ] = False,
    json: Json = False,
) -> None:
    """Tell what a file of weights is, and which tensor becomes which."""
    from dprd_cli.weights.describe import describe_weights

    found = describe_weights(spec)
    content = found.to_json()
    if json:
        print_json(content)
        return
    for key, value in content.items():
        if key not in {"origin", "classes"}:
            text = ", ".join(value) or "none" if isinstance(value, list) else value
            typer.echo(one_line(f"{key}: {text}"))
    typer.echo(one_line(f"classes: {len(found.classes)} ({', '.join(found.classes[:5])}, ...)"))
    if keys:
        for ours, theirs in found.origin.items():
            typer.echo(one_line(f"  {ours} <- {theirs}"))


def _find(name: str, backbone: str) -> PublishedWeights:
    from dprd_cli.weights.zoo import published

    if name != "imagenet":
        return published(name)
    from dprd_cli.weights.backbone_weights import imagenet_file

    check_backbone(backbone)
    return imagenet_file(backbone)
