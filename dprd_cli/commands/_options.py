"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="PATH|synthetic", help="Folder with COCO or VOC annotations, or the built-in data."
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="mask-rcnn, cascade-mrcnn, dprd or cascade-dprd (default); each also as NAME-small.",
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone", metavar="NAME", help="r50 (default), r101, x101, r10, r18, r34 or mobilenet_v2."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set any config key, such as model.parts.sigma=0.4; repeat."
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="RUN|FILE|NAME",
        help="Run folder, checkpoint, 'demo', or published weights (`dprd weights list`); the newest run by "
        "default.",
    ),
]
PartOffsets = Annotated[
    str,
    typer.Option(
        "--part-offsets", metavar="KIND", help="learned, mean (one template per part) or reference."
    ),
]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto (default), cpu or cuda.")]
OnBadImage = Annotated[
    str | None,
    typer.Option(
        "--on-bad-image", metavar="error|skip", help="Stop at an unreadable picture, or skip and count it."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]

BACKBONES = ("r10", "r18", "r34", "r50", "r101", "x101", "mobilenet_v2")
PART_OFFSETS = ("learned", "mean", "reference")


def say(line: str) -> None:
    """Print a message on stderr."""
    print(line, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """Print one JSON document on stdout."""
    import json

    typer.echo(json.dumps(content, indent=2))


def check_backbone(name: str | None) -> str | None:
    """Return the name of a known backbone, or None.

    Raises:
        UsageError: With a suggestion.
    """
    from dprd_cli.presets import pick

    return None if name is None else pick("backbone", name, BACKBONES)


def existing(path: Path | None) -> Path | None:
    """Return a config file's path if it exists.

    Raises:
        UsageError: If there is no such file.
    """
    from dprd_cli.errors import UsageError

    if path is not None and not path.is_file():
        raise UsageError(f"--config {path}: no such file")
    return path
