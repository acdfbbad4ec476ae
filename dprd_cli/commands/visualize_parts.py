"""`dprd visualize-parts`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands._options import (
    PART_OFFSETS,
    Device,
    Json,
    PartOffsets,
    Weights,
    print_json,
    say,
    with_part_offsets,
)

if TYPE_CHECKING:
    from dprd_cli.evaluation.parts import PartDeformation
    from dprd_cli.structures.sample import ImageArray
    from dprd_cli.weights.load import LoadedModel

_GRID_LIMIT = 48


def visualize_parts(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUTS...", help="Images, folders of images, globs.")
    ],
    weights: Weights = "",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the figures go.")] = Path("parts"),
    score_thresh: Annotated[
        float, typer.Option("--score-thresh", min=0, max=1, help="Show detections from this score.")
    ] = 0.5,
    max_objects: Annotated[
        int, typer.Option("--max-objects", min=1, help="The best so many objects of each image.")
    ] = 10,
    per_stage: Annotated[
        bool, typer.Option("--per-stage", help="One panel for what went into each cascade stage.")
    ] = False,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare", help="Reference beside deformed parts; by default for one image."
        ),
    ] = None,
    grid: Annotated[
        bool | None,
        typer.Option("--grid/--no-grid", help="One figure of all images; by default for several."),
    ] = None,
    columns: Annotated[int, typer.Option("--columns", min=1, help="Columns of that figure.")] = 4,
    part_offsets: PartOffsets = "learned",
    device: Device = None,
    json: Json = False,
) -> None:
    """Show whole and part boxes in orange (the paper's Fig. 6), and measure how parts deform."""
    from dprd_cli.config.presets import pick
    from dprd_cli.drawing.detections import draw_parts
    from dprd_cli.errors import DataError
    from dprd_cli.evaluation.parts import PartStatistics
    from dprd_cli.files.images import write_image
    from dprd_cli.files.results import image_names, output_folder
    from dprd_cli.inference.figures import part_figures
    from dprd_cli.inference.predictor import Predictor, Unreadable
    from dprd_cli.inference.sources import find_images
    from dprd_cli.weights.load import load_model

    pick("kind of part offsets", part_offsets, PART_OFFSETS)
    paths = find_images(inputs)
    model = load_model(weights, device or "auto")
    say(f"checkpoint: {model.source} (step {model.step})")
    _check_parts(model)
    model = with_part_offsets(model, part_offsets)
    output_folder(out, paths)
    predictor = Predictor(model, min_score=score_thresh)
    statistics, errors = PartStatistics(model.class_names), 0
    written: list[Path] = []
    cells: list[ImageArray] = []
    compare = len(paths) == 1 if compare is None else compare
    grid = len(paths) > 1 if grid is None else grid
    names = image_names(paths, ".png", reserved=["grid"])
    for item, name in zip(predictor.predict_files(paths), names, strict=True):
        if isinstance(item, Unreadable):
            say(f"skipped: {item.message}")
            errors += 1
            continue
        shown = item.best(max_objects)
        statistics.add(shown.detections)
        figures = part_figures(shown, model, compare=compare, per_stage=per_stage)
        for kind, figure in figures.items():
            path = out / (Path(name).stem + kind + ".png")
            write_image(path, figure)
            written.append(path)
        if grid and len(cells) < _GRID_LIMIT:
            cells.append(draw_parts(item.image, shown.detections.boxes, shown.detections.part_boxes))
    if cells:
        written.append(_save_grid(cells, columns, len(paths) - errors, out))
    how = {"checkpoint": str(model.source), "part_offsets": part_offsets, "score_thresh": score_thresh}
    result = statistics.result()
    written += _save_statistics(result, how, out)
    if json:
        print_json({**how, "files": [str(path) for path in written], **result.to_json()})
    elif result.total is not None:
        _print_statistics(result)
    else:
        say(f"no object reached the score {score_thresh:g}; lower --score-thresh to see more")
    say(f"results: {len(written)} files in {out}/")
    if errors:
        raise DataError(f"{errors} of {len(paths)} images could not be read; the others are in {out}/")


def _check_parts(model: LoadedModel) -> None:
    from dprd_cli.errors import UserError

    mode = model.config.model.parts.mode
    if not model.detector.has_parts:
        raise UserError(
            f"{model.source}: this model has no parts (preset {model.config.preset}, "
            f"model.parts.mode={mode}); pass the weights of a dprd or cascade-dprd run"
        )
    if model.detector.part_layer is None:
        say("the parts of this model are fixed: they are the reference parts")


def _save_grid(cells: Sequence[ImageArray], columns: int, total: int, out: Path) -> Path:
    from dprd_cli.drawing.detections import grid
    from dprd_cli.files.images import write_image

    if total > len(cells):
        say(f"grid.png shows the first {len(cells)} of {total} images")
    write_image(out / "grid.png", grid(cells, columns))
    return out / "grid.png"


def _save_statistics(statistics: PartDeformation, how: dict[str, Any], out: Path) -> list[Path]:
    from dprd_cli.evaluation.parts import COLUMNS
    from dprd_cli.files.atomic import write_json, write_rows

    write_json(out / "parts.json", {**how, **statistics.to_json()})
    write_rows(out / "parts.csv", COLUMNS, statistics.rows())
    return [out / "parts.json", out / "parts.csv"]


def _print_statistics(result: PartDeformation) -> None:
    """Print how parts deform, per class; see `GroupDeformation` for the columns."""
    from math import exp

    from dprd_cli.commands._tables import print_rows

    columns = ("objects", "IoU", "|dx|", "|dy|", "size", "motion", "adapts")
    rows: list[tuple[str, ...]] = [
        (
            group.name,
            str(group.objects),
            f"{group.iou:.3f}",
            f"{group.abs_dx:.3f}",
            f"{group.abs_dy:.3f}",
            f"{exp(group.log_w):.2f}x{exp(group.log_h):.2f}",
            f"{group.motion:.3f}",
            f"{group.spread_class:.3f}",
        )
        for group in (*result.classes, *filter(None, [result.total]))
    ]
    print_rows("class", columns, rows)
    say("IoU: with the reference parts; |dx|, |dy|: shift in part sizes; size: width x height against them;")
    say("motion: root mean square of the offsets; adapts: what is left of it after each class's mean offsets")
