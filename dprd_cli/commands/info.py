"""`dprd info`."""

from __future__ import annotations

from typing import Annotated

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
    from dataclasses import asdict

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
                "parameters": asdict(parameters),
                "macs": macs.to_json(),
            }
        )
        return
    totals = {"total": parameters.total, "trainable": parameters.trainable}
    print_rows("parameters", ("millions",), _rows(totals, parameters.modules, 1e6))
    rois = f"{macs.proposals} proposals, {macs.detections} detections"
    print_rows(
        f"MACs at {image_size}, {rois}", ("billions",), _rows({"total": macs.total}, macs.modules, 1e9)
    )


def _rows(totals: dict[str, int], modules: dict[str, int], unit: float) -> list[tuple[str, ...]]:
    counts = totals | {f"  {name.replace('_', ' ')}": count for name, count in modules.items()}
    return [(name, f"{count / unit:.2f}") for name, count in counts.items()]
