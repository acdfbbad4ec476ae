"""`dprd export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._help import OUTPUT
from dprd_cli.commands._options import (
    DataOverrides,
    Json,
    Overwrite,
    Plugins,
    Weights,
    parse_size,
    print_json,
    say,
)
from dprd_cli.errors import one_line


def export(
    source: Annotated[str, typer.Argument(hidden=True, metavar="RUN|FILE|NAME")] = "",
    weights: Weights = "",
    kind: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="onnx or torch-export.", rich_help_panel=OUTPUT),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="By default PRESET.onnx or PRESET.pt2, or if that is there, PRESET-2.onnx, ...",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    image_size: Annotated[
        str,
        typer.Option(
            "--image-size",
            metavar="HxW",
            help="Fix the input's size, in multiples of 32, such as 800x1216.",
            rich_help_panel=OUTPUT,
        ),
    ] = "dynamic",
    batch_size: Annotated[
        str,
        typer.Option(
            "--batch-size", metavar="N", help="Fix the number of images of a call.", rich_help_panel=OUTPUT
        ),
    ] = "dynamic",
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            metavar="IMAGE",
            help="Compare with PyTorch on this image; repeat.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overrides: DataOverrides = None,
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Write a detector as one ONNX or torch.export file that describes itself (docs/export.md)."""
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import UsageError
    from dprd_cli.export.detector import export_detector
    from dprd_cli.export.write import FORMATS, ExportOptions
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.inference.sources import find_images
    from dprd_cli.weights.load import load_model

    if source and weights:
        raise UsageError(f"unexpected argument '{source}'; --weights names the detector")
    pick("format", kind, FORMATS)
    fixed = image_size != "dynamic"
    size = parse_size(image_size, multiple=32, otherwise="dynamic") if fixed else None
    options = ExportOptions(kind, _parse_batch(batch_size), size)
    paths = find_images(check or [])
    load_plugins(plugins or [])
    model = load_model(weights or source, "cpu").with_data(overrides=overrides or [])
    say(f"checkpoint: {model.source} (step {model.step})")
    result = export_detector(model, OutputChoice(out, overwrite), options, check=paths)
    megabytes = result.file.stat().st_size / 1e6
    say(f"{result.file}: {megabytes:.1f} MB, outputs {', '.join(result.metadata.outputs)}")
    if json:
        print_json(result.to_json())
    for item in result.differences if not json else ():
        largest = ", ".join(f"{name} {value:.2g}" for name, value in item.largest.items())
        counts = f"{item.matched} of {item.found} detections are in the file's {item.exported}"
        typer.echo(one_line(f"{item.path}: {counts}; largest differences: {largest or 'none'}"))
    result.raise_for_differences()


def _parse_batch(text: str) -> int | None:
    """Return the number, or None for `dynamic`.

    Raises:
        UsageError: If it is neither.
    """
    from dprd_cli.errors import UsageError

    if text == "dynamic":
        return None
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise UsageError(f"--batch-size {text}: expected a number from 1 to 9999, or dynamic")
    return int(text)
