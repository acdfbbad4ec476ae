"""What the commands of `dprd data` are told of a data set, and the configuration that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import TRAINING

if TYPE_CHECKING:
    from dprd_cli.config.schema import Config

DataPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Folder with images and annotations (docs/own-data.md lists the formats), or one file of them.",
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="NAME",
        autocompletion=_complete.schedules,
        help="Schedule whose image sizes and augmentation are taken.",
        rich_help_panel=TRAINING,
    ),
]


def data_config(
    path: str,
    overrides: list[str] | None,
    schedule: str | None = None,
    preset: str | None = None,
    **flags: object,
) -> Config:
    """Return the config that training on a data set would have; without a schedule, of all its images.

    Raises:
        UsageError: If a key is unknown or of another section.
    """
    from dprd_cli.config.presets import resolve
    from dprd_cli.errors import UsageError

    for pair in overrides or []:
        if not pair.strip().startswith("data."):
            raise UsageError(f"--set {pair}: only data.* keys matter here")
    whole = {} if schedule else {"data.skip_empty": False}
    given = {"data.path": path, **whole, **{f"data.{key}": value for key, value in flags.items()}}
    return resolve(preset=preset, schedule=schedule, flags=given, overrides=overrides or [])
