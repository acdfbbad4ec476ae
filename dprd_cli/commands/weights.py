"""`dprd weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands._help import DETECTOR, OUTPUT, CommandApp
from dprd_cli.commands._options import Json, Overwrite, check_backbone, print_json, say
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
    """List, fetch and inspect published weights; pack a run, and publish it."""


@weights_app.command("list")
def list_weights(json: Json = False) -> None:
    """List what --weights and --backbone-weights take: what comes along, and published weights."""
    from dprd_cli.files.downloads import download_folder
    from dprd_cli.weights.included import INCLUDED, included_file
    from dprd_cli.weights.zoo import ZOO

    folder = download_folder()
    here = {name: (folder / file.file_name).is_file() for name, file in ZOO.items()}
    if json:
        rows = [{"name": name, **file.to_json(), "fetched": here[name]} for name, file in ZOO.items()]
        included = [
            {"name": name, **one.to_json(), "installed": included_file(name) is not None}
            for name, one in INCLUDED.items()
        ]
        print_json({"folder": str(folder), "included": included, "weights": rows})
        return
    from rich.table import Column, Table

    from dprd_cli.commands._tables import LiteralConsole

    table = Table(Column("name", no_wrap=True, overflow="fold"), "network", "for", "here", box=None)
    for name, one in INCLUDED.items():
        table.add_row(name, f"{one.preset}: {one.finds}", "--weights", "yes" if included_file(name) else "")
    for name, file in ZOO.items():
        option = "--weights" if file.preset else "--backbone-weights"
        table.add_row(name, f"{file.preset} {file.backbone}".strip(), option, "yes" if here[name] else "")
    LiteralConsole().print(table)
    say(f"downloads are kept in {folder}; 'imagenet' (torchvision's backbones) is a name too")


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
    for key, value in (content | content.pop("made_by", {})).items():
        if key not in {"origin", "classes"}:
            text = ", ".join(value) or "none" if isinstance(value, list) else value
            text = f"{text:.4g}" if isinstance(text, float) else text
            typer.echo(one_line(f"{key}: {text}"))
    typer.echo(one_line(f"classes: {len(found.classes)} ({', '.join(found.classes[:5])}, ...)"))
    if keys:
        for ours, theirs in found.origin.items():
            typer.echo(one_line(f"  {ours} <- {theirs}"))


@weights_app.command("pack")
def pack(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, checkpoint, 'voc' or 'demo'.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that is made.")],
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="What the card calls it; the run's name by default.",
            rich_help_panel=OUTPUT,
        ),
    ] = "",
    licence: Annotated[
        str,
        typer.Option(
            "--license",
            metavar="ID",
            help="Of the weights, as the hub spells it: apache-2.0, cc-by-4.0, ...",
            rich_help_panel=OUTPUT,
        ),
    ] = "",
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            help="Put the run's curves and images in, or not.",
            rich_help_panel=OUTPUT,
        ),
    ] = True,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a folder that can be given away: safetensors, a model card, the run's images."""
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.report.pack import PackOptions, pack_weights

    options = PackOptions(name=name, licence=licence, images=images)
    made = pack_weights(run, OutputChoice(out, overwrite, "OUT"), options)
    if json:
        print_json(made.to_json())
    say(f"packed {made.checkpoint} (step {made.step}) into {made.folder}, {_megabytes(made.files)}")
    say(f"look through {made.folder / 'README.md'} before you publish it: it names commands and classes")


@weights_app.command("push")
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `dprd weights pack` made.")],
    repository: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="Repository on the Hugging Face hub; made if missing.")
    ],
    private: Annotated[
        bool,
        typer.Option("--private", help="A repository that is made is for you alone.", rich_help_panel=OUTPUT),
    ] = False,
    message: Annotated[
        str,
        typer.Option(
            "--message",
            metavar="TEXT",
            help="The commit's; by default it names the folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check the folder, say what would be sent, send nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Publish a packed folder on the hub, with the token of `hf auth login` or HF_TOKEN."""
    from dprd_cli.weights.hub_push import push_folder

    done = push_folder(folder, repository, private=private, message=message, dry_run=dry_run)
    if json:
        print_json(done.to_json())
    for left in done.left_out:
        say(f"not sent: {left}, which `dprd weights pack` did not write")
    if done.commit is None:
        for file, size in done.files.items():
            say(f"would send {file} ({size:,} bytes)")
        say(f"dry run: nothing was sent to {repository}")
    else:
        say(f"published {_megabytes(done.files)}: {done.url}")
        say(f"use it: --weights hf:{repository}@{done.commit}")


def _megabytes(files: dict[str, int]) -> str:
    return f"{len(files)} files, {sum(files.values()) / 1e6:.1f} MB"


def _find(name: str, backbone: str) -> PublishedWeights:
    from dprd_cli.weights.zoo import published

    if name != "imagenet":
        return published(name)
    from dprd_cli.weights.backbone_weights import imagenet_file

    check_backbone(backbone)
    return imagenet_file(backbone)
