"""`dprd info`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dprd_cli.commands._options import (
    Backbone,
    Json,
    Overrides,
    Preset,
    check_backbone,
    parse_size,
    print_json,
)


def info(
    preset: Preset = None,
    backbone: Backbone = None,
    overrides: Overrides = None,
    num_classes: Annotated[int, typer.Option("--num-classes", min=1, help="Classes K.")] = 80,
    image_size: Annotated[
        str, typer.Option("--image-size", metavar="HxW", help="Image that the MACs are counted on.")
    ] = "800x1216",
    json: Json = False,
) -> None:
    """Count a model's parameters and multiply-accumulates, by module."""
    from dprd_cli.commands._tables import print_rows
    from dprd_cli.config.presets import resolve
    from dprd_cli.model.build import build_detector
    from dprd_cli.model.cost import count_macs, count_parameters

    size = parse_size(image_size)
    flags = {"model.backbone.name": check_backbone(backbone)}
    config = resolve(preset=preset, flags=flags, overrides=overrides or [])
    detector = build_detector(
        config.model, num_classes=num_classes, with_masks=config.model.heads.mask is not False
    )
    parameters, macs = count_parameters(detector), count_macs(detector, size)
    if json:
        print_json(
            {
                "preset": config.preset,
                "backbone": config.model.backbone.name,
                "num_classes": num_classes,
                "image_size": list(size),
                "parameters": parameters,
                "macs": macs,
            }
        )
        return
    print_rows("parameters", ("millions",), _rows(parameters, ("total", "trainable"), 1e6))
    rois = f"{macs['proposals']} proposals, {macs['detections']} detections"
    print_rows(f"MACs at {image_size}, {rois}", ("billions",), _rows(macs, ("total",), 1e9))


def _rows(counts: dict[str, Any], totals: tuple[str, ...], unit: float) -> list[tuple[str, ...]]:
    names = {name: counts[name] for name in totals}
    names |= {f"  {name.replace('_', ' ')}": count for name, count in counts["modules"].items()}
    return [(name, f"{count / unit:.2f}") for name, count in names.items()]
