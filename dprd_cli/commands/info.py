"""`dprd info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import DETECTOR, MEASURE
from dprd_cli.commands._options import (
    Backbone,
    Json,
    Overrides,
    Plugins,
    Preset,
    check_backbone,
    parse_size,
    print_json,
)
from dprd_cli.errors import one_line

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector


def info(
    preset: Preset = None,
    backbone: Backbone = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="RUN|FILE|NAME",
            autocompletion=_complete.weights,
            help="A detector that there is, with its classes, in place of a preset: run folder, checkpoint, "
            "'voc', 'demo', or published weights.",
            rich_help_panel=DETECTOR,
        ),
    ] = None,
    overrides: Overrides = None,
    num_classes: Annotated[
        int | None,
        typer.Option(
            "--num-classes", metavar="N", min=1, help="Classes K; 80 by default.", rich_help_panel=DETECTOR
        ),
    ] = None,
    image_size: Annotated[
        str,
        typer.Option(
            "--image-size",
            metavar="HxW",
            help="Image that the MACs are counted on.",
            rich_help_panel=MEASURE,
        ),
    ] = "800x1216",
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Count a model's parameters and multiply-accumulates, by module."""
    from dataclasses import asdict

    from dprd_cli.commands._tables import print_rows
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.model.cost import count_macs, count_parameters

    size = parse_size(image_size)
    load_plugins(plugins or [])
    if weights is None:
        about, detector = _built(preset, backbone, overrides or [], num_classes or 80)
    else:
        asked = {"--preset": preset, "--backbone": backbone, "--set": overrides, "--num-classes": num_classes}
        about, detector = _loaded(weights, [name for name, value in asked.items() if value])
    parameters, macs = count_parameters(detector), count_macs(detector, size)
    if json:
        counts = {"parameters": asdict(parameters), "macs": macs.to_json()}
        print_json(about | {"image_size": list(size)} | counts)
        return
    if weights is not None:
        rows = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items())
        typer.echo(one_line(rows))
    totals = {"total": parameters.total, "trainable": parameters.trainable}
    print_rows("parameters", ("millions",), _rows(totals, parameters.modules, 1e6))
    rois = f"{macs.proposals} proposals, {macs.detections} detections"
    print_rows(
        f"MACs at {image_size}, {rois}", ("billions",), _rows({"total": macs.total}, macs.modules, 1e9)
    )


def _built(
    preset: str | None, backbone: str | None, overrides: list[str], num_classes: int
) -> tuple[dict[str, Any], Detector]:
    """Return what a preset's detector is, and the detector without numbers."""
    import torch

    from dprd_cli.config.presets import resolve
    from dprd_cli.model.build import build_detector

    flags = {"model.backbone.name": check_backbone(backbone)}
    config = resolve(preset=preset, flags=flags, overrides=overrides)
    with_masks = config.model.heads.mask is not False
    with torch.device("meta"):  # counting needs no numbers
        detector = build_detector(config.model, num_classes=num_classes, with_masks=with_masks)
    about = {"preset": config.preset, "backbone": config.model.backbone.name, "num_classes": num_classes}
    return about, detector


def _loaded(weights: str, fixed: list[str]) -> tuple[dict[str, Any], Detector]:
    """Return what a detector that there is is, and the detector.

    Raises:
        UsageError: If options ask for what its weights fix.
    """
    from dprd_cli.errors import UsageError
    from dprd_cli.weights.load import load_model

    if fixed:
        raise UsageError(f"{', '.join(fixed)}: the weights of --weights fix this")
    model = load_model(weights, "cpu")
    config = model.config
    about = {
        "checkpoint": str(model.source),
        "step": model.step,
        "preset": config.preset,
        "backbone": config.model.backbone.name,
        "num_classes": len(model.class_names),
    }
    return about, model.detector


def _rows(totals: dict[str, int], modules: dict[str, int], unit: float) -> list[tuple[str, ...]]:
    counts = totals | {f"  {name.replace('_', ' ')}": count for name, count in modules.items()}
    return [(name, f"{count / unit:.2f}") for name, count in counts.items()]
