"""`dprd data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._options import say

data_app = typer.Typer(
    no_args_is_help=True, help="Write the built-in data set.", pretty_exceptions_enable=False
)


@data_app.callback()
def _data() -> None:
    """Work with data sets."""


@data_app.command("synth")
def synth(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; must not hold a data set.")],
    train: Annotated[int, typer.Option("--train", min=1, help="Training pictures.")] = 4096,
    val: Annotated[int, typer.Option("--val", min=1, help="Held-out pictures.")] = 256,
    size: Annotated[
        int, typer.Option("--size", min=64, max=1024, help="Side of the pictures in pixels.")
    ] = 160,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other pictures.")] = 0,
) -> None:
    """Write the built-in data as COCO json and PNG; `dprd train --data DIR` then takes it like any other."""
    from dprd_cli.data.synthetic import SyntheticDataset, write_coco
    from dprd_cli.errors import UsageError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty; choose another folder")
    for split, count in (("train", train), ("val", val)):
        path = write_coco(SyntheticDataset(split, count, size, seed), folder)  # type: ignore[arg-type]
        say(f"{count} pictures: {path}")
    say(f"next: dprd train --data {folder} --schedule small")
