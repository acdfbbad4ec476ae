"""`dprd predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands._options import (
    PART_OFFSETS,
    DataOverrides,
    Device,
    Json,
    PartOffsets,
    Tta,
    Weights,
    check_part_offsets,
    print_json,
    say,
    with_data,
)

if TYPE_CHECKING:
    from dprd_cli.inference import Prediction
    from dprd_cli.weights import LoadedModel


def predict(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUTS...", help="Pictures, folders of pictures, globs.")
    ],
    weights: Weights = "",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")] = Path(
        "predictions"
    ),
    score_thresh: Annotated[
        float,
        typer.Option(
            "--score-thresh",
            min=0,
            max=1,
            help="Draw detections from this score; results.json keeps those below too.",
        ),
    ] = 0.5,
    save_parts: Annotated[
        bool, typer.Option("--save-parts", help="Draw part boxes in orange, and add them to the results.")
    ] = False,
    no_masks: Annotated[bool, typer.Option("--no-masks", help="Leave masks out.")] = False,
    part_offsets: PartOffsets = "learned",
    tta: Tta = False,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Pictures at a time; one with --tta.")
    ] = 1,
    device: Device = None,
    overrides: DataOverrides = None,
    json: Json = False,
) -> None:
    """Detect objects in pictures: annotated pictures, COCO results and a CSV."""
    from dataclasses import replace

    from dprd_cli.errors import DataError
    from dprd_cli.inference import Predictor, Unreadable, find_images
    from dprd_cli.presets import pick
    from dprd_cli.results import Results, image_ids, output_folder, picture_names
    from dprd_cli.weights import load_model

    pick("kind of part offsets", part_offsets, PART_OFFSETS)
    paths = find_images(inputs)
    model = load_model(weights, device or "auto")
    say(f"checkpoint: {model.source} (step {model.step})")
    check_part_offsets(part_offsets, model)
    model = replace(model, config=with_data(model.config, overrides))
    if save_parts and model.config.model.parts.mode in {"none", "pooling"}:
        say("this model has no parts; --save-parts does nothing")
    output_folder(out, paths)
    predictor = Predictor(model, part_offsets=part_offsets, tta=tta, masks=not no_masks)
    results = Results(model.class_names, model.category_ids, with_parts=save_parts, with_masks=not no_masks)
    errors: list[Unreadable] = []
    drawn: list[dict[str, Any]] = []
    places = zip(image_ids(paths), picture_names(paths), strict=True)
    for item, (image_id, name) in zip(predictor.predict_files(paths, batch_size), places, strict=True):
        if isinstance(item, Unreadable):
            say(f"skipped: {item.message}")
            errors.append(item)
            continue
        results.add(item.path, image_id, item.detections, name)
        drawn.append(_draw(item, model, out / name, score_thresh, masks=not no_masks, parts=save_parts))
        if not json:
            say(f"{item.path}: {_count(drawn[-1]['objects'])}")
    files = results.save(out)
    if json:
        failed = [{"file": str(item.path), "message": item.message} for item in errors]
        print_json(
            {
                "checkpoint": str(model.source),
                "out": str(out),
                "results": [str(path) for path in files],
                "score_thresh": score_thresh,
                "part_offsets": part_offsets,
                "tta": tta,
                "images": drawn,
                "errors": failed,
            }
        )
    say(f"results: {len(drawn)} annotated pictures, {', '.join(path.name for path in files)} in {out}/")
    if errors:
        raise DataError(f"{len(errors)} of {len(paths)} pictures could not be read; the others are in {out}/")


def _draw(
    item: Prediction, model: LoadedModel, path: Path, score_thresh: float, *, masks: bool, parts: bool
) -> dict[str, Any]:
    """Draw one picture and return what is on it."""
    from dprd_cli.drawing import draw_detections
    from dprd_cli.results import write_picture

    picture = draw_detections(
        item.image, item.detections, model.class_names, score_thresh=score_thresh, masks=masks, parts=parts
    )
    write_picture(path, picture)
    shown = item.detections[item.detections.scores >= score_thresh]
    rows = zip(shown.labels.tolist(), shown.scores.tolist(), shown.boxes.tolist(), strict=True)
    objects: list[dict[str, Any]] = [
        {"class": model.class_names[label], "score": score, "box": box} for label, score, box in rows
    ]
    if parts and shown.part_boxes is not None:
        for row, boxes in zip(objects, shown.part_boxes.tolist(), strict=True):
            row["part_boxes"] = boxes
    return {"file": str(item.path), "picture": str(path), "objects": objects}


def _count(objects: list[dict[str, Any]]) -> str:
    """Return `2 person, 1 dog`, the most frequent first."""
    from collections import Counter

    counts = Counter(row["class"] for row in objects)
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "nothing found"
