"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import CONFIG, DATA, DETECTIONS, DETECTOR, DRAWING, INPUT, MACHINE, OUTPUT
from dprd_cli.config import registry
from dprd_cli.config.backbone_names import BACKBONES
from dprd_cli.runtime.progress import progress as progress
from dprd_cli.runtime.progress import say as say

PART_OFFSETS = ("learned", "mean", "reference")
PART_STYLES = ("tones", "paper", "distinct")
COLORED_BY = ("class", "instance")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder with COCO, VOC or YOLO annotations, or the built-in data.",
        rich_help_panel=DATA,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        autocompletion=_complete.presets,
        help="mask-rcnn, cascade-mrcnn, dprd or cascade-dprd (default, unless the schedule auto chooses); "
        "also NAME-small, NAME-medium, and cascade-dprd-swin-l.",
        rich_help_panel=DETECTOR,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="NAME",
        autocompletion=_complete.among(*BACKBONES),
        help="r50 (default), r101, x101, r10, r18, r34, mobilenet_v2, convnext_tiny, swin_v2_t, "
        "efficientnet_v2_s, regnet_y_400mf and their larger ones, or timm:NAME.",
        rich_help_panel=DETECTOR,
    ),
]
BackboneWeights = Annotated[
    str | None,
    typer.Option(
        "--backbone-weights",
        metavar="NAME|FILE",
        help="Weights that the backbone starts from; published ones too.",
        rich_help_panel=DETECTOR,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with any of the config's keys.",
        rich_help_panel=CONFIG,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=_complete.keys,
        help="Set any config key, such as model.parts.sigma=0.4; repeat.",
        rich_help_panel=CONFIG,
    ),
]
DataOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=VALUE",
        autocompletion=_complete.data_keys,
        help="Set a key of the data section, such as data.test_min_size=640; repeat.",
        rich_help_panel=CONFIG,
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Detect at several scales and mirrored, and merge: the sizes are data.tta_min_sizes.",
        rich_help_panel=DETECTOR,
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="PIXELS",
        help="Also cut images larger than this, in pixels, into tiles of it, for small objects.",
        rich_help_panel=DETECTOR,
    ),
]
Overlap = Annotated[
    float,
    typer.Option(
        "--overlap",
        metavar="SHARE",
        help="How much of a tile the next one shows again.",
        rich_help_panel=DETECTOR,
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="RUN|FILE|NAME",
        autocompletion=_complete.weights,
        help="Run folder, checkpoint, 'voc', 'demo', or published weights (`dprd weights list`); the newest "
        "run by default.",
        rich_help_panel=DETECTOR,
    ),
]
PartOffsets = Annotated[
    str,
    typer.Option(
        "--part-offsets",
        metavar="KIND",
        autocompletion=_complete.among(*PART_OFFSETS),
        help="Where parts lie: learned, mean (one template per part) or reference.",
        rich_help_panel=DETECTOR,
    ),
]
PartStyle = Annotated[
    str,
    typer.Option(
        "--style",
        metavar="STYLE",
        autocompletion=_complete.among(*PART_STYLES),
        help="How parts look: tones (of orange, with letters), paper (as in its Fig. 6) or distinct (for "
        "every colour vision).",
        rich_help_panel=DRAWING,
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py|MODULE",
        help="Run this Python code first: it registers backbones, parts, data readers, ... of your own; "
        "repeat (docs/extend.md).",
        rich_help_panel=CONFIG,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        autocompletion=_complete.among(*DEVICES),
        help="auto (default), cpu, cuda or mps (Apple's GPU, never by itself).",
        rich_help_panel=MACHINE,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        autocompletion=_complete.among(*PRECISIONS),
        help="fp32, bf16 (bfloat16), or auto: what is faster there (`dprd env`).",
        rich_help_panel=MACHINE,
    ),
]
Gpus = Annotated[
    int,
    typer.Option(
        "--gpus",
        metavar="N",
        min=1,
        help="Processes on this machine that share the work, a GPU each (or all on --device cpu).",
        rich_help_panel=MACHINE,
    ),
]
ImageInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUTS...", help="Images, folders, globs; @FILE lists names, - takes them from stdin."
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive",
        "-r",
        help="Folders give the images of the folders inside too.",
        rich_help_panel=INPUT,
    ),
]
Lists = Annotated[
    list[str] | None,
    typer.Option(
        "--list",
        metavar="FILE",
        help="File with a name a line, - for stdin; repeat.",
        rich_help_panel=INPUT,
    ),
]
NullNames = Annotated[
    bool,
    typer.Option("--null", "-0", help="Names in lists end in NUL (`find -print0`).", rich_help_panel=INPUT),
]
MaxObjects = Annotated[
    int,
    typer.Option(
        "--max-objects",
        metavar="N",
        min=1,
        help="The best so many objects of each image.",
        rich_help_panel=DETECTIONS,
    ),
]
OnBadImage = Annotated[
    str | None,
    typer.Option(
        "--on-bad-image",
        metavar="error|skip",
        help="Stop at an unreadable image, or skip and count it.",
        rich_help_panel=DATA,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace what this command wrote there before; files that it did not write stay.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document on stdout; all else goes to stderr.", rich_help_panel=OUTPUT
    ),
]


def in_processes(context: typer.Context, count: int, device: str | None, *, max_restarts: int = 0) -> bool:
    """Run the command again in `--gpus` processes, if there are to be several; whether that was done.

    Args:
        context: Its object is the command line.
        count: How many.
        device: `--device`.
        max_restarts: How often they are started again; see `launch`.

    Raises:
        UsageError: If there are not as many GPUs, or torchrun started other numbers.
        typer.Exit: If the command failed.
    """
    from dprd_cli.errors import UsageError
    from dprd_cli.runtime.ranks import is_launched, local_size, world_size

    if world_size() > 1:
        if count not in (1, local_size()):
            raise UsageError(
                f"--gpus {count}: torchrun has started {local_size()} processes here; leave it out"
            )
        return False
    if count == 1 and (not max_restarts or is_launched()):
        return False
    if device != "cpu" and count > 1:
        import torch

        found = torch.cuda.device_count()
        if device not in (None, "auto", "cuda"):
            raise UsageError(
                f"--device {device}: each of --gpus {count} takes a GPU of its own; leave it out"
            )
        if found < count:
            raise UsageError(f"--gpus {count}: {found} CUDA devices here; take fewer, or --device cpu")
    from dprd_cli.runtime.launch import launch

    code = launch(count, context.obj, max_restarts=max_restarts)
    if code:
        raise typer.Exit(code)
    return True


def print_json(content: Any) -> None:
    """Print one JSON document on stdout."""
    import json

    typer.echo(json.dumps(content, indent=2))


def check_backbone(name: str | None) -> str | None:
    """Return the name of a known backbone, or None.

    Raises:
        UsageError: With a suggestion.
    """
    from dprd_cli.config.presets import pick

    known = registry.backbone
    return name if name is None or known.knows(name) else pick("backbone", name, known.names)


def existing(path: Path | None) -> Path | None:
    """Return a config file's path if it exists.

    Raises:
        UsageError: If there is no such file.
    """
    from dprd_cli.errors import UsageError

    if path is not None and not path.is_file():
        raise UsageError(f"--config {path}: no such file")
    return path


def parse_size(text: str, *, multiple: int = 1, otherwise: str = "") -> tuple[int, int]:
    """Return (height, width) of `HxW`.

    Args:
        text: What was passed.
        multiple: What both must be multiples of.
        otherwise: What else may be passed, for the message.

    Raises:
        UsageError: If it is not of that form, or too small for a pyramid.
    """
    from dprd_cli.errors import UsageError

    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match or any(int(side) < 64 or int(side) % multiple for side in match.groups()):
        sides = "of at least 64x64" if multiple == 1 else f"in multiples of {multiple} from 64 on"
        raise UsageError(
            f"--image-size {text}: expected HEIGHTxWIDTH {sides}, such as 800x1216"
            + (f", or {otherwise}" if otherwise else "")
        )
    return int(match[1]), int(match[2])
