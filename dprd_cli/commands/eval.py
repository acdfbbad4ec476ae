"""`dprd eval`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands._options import (
    PART_OFFSETS,
    Data,
    Device,
    Json,
    OnBadImage,
    PartOffsets,
    Weights,
    print_json,
    say,
)

if TYPE_CHECKING:
    from dprd_cli.config import Config
    from dprd_cli.weights import LoadedModel


def evaluate(
    weights: Weights = "",
    data: Data = None,
    split: Annotated[str, typer.Option("--split", metavar="val|train", help="Which split.")] = "val",
    part_offsets: PartOffsets = "learned",
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Only the first so many pictures; 0: all.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Results file; eval_<split>.json beside the checkpoint."),
    ] = None,
    on_bad_image: OnBadImage = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure a detector with COCO's metrics, for boxes and masks, over all classes and for each.

    On Pascal VOC's data, VOC's mAP too.
    """
    from dprd_cli.commands._tables import print_results
    from dprd_cli.presets import pick
    from dprd_cli.training.run_folder import write_json
    from dprd_cli.weights import load_model

    pick("split", split, ("val", "train"))
    pick("kind of part offsets", part_offsets, PART_OFFSETS)
    model = load_model(weights, device or "auto")
    say(f"checkpoint: {model.source} (step {model.step})")
    config = _with_data(model.config, data, on_bad_image)
    results = _measure(model, config, split, part_offsets, limit)
    path = out or _results_path(model.source, split, part_offsets)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, results)
    if json:
        print_json(results)
    else:
        print_results(results)
    say(f"results: {path}")


def _with_data(config: Config, data: str | None, on_bad_image: str | None) -> Config:
    """Return a checkpoint's config with other data."""
    from dprd_cli.config import merge, validate

    changes: dict[str, str | list[str]] = {}
    if data is not None and data != config.data.path:
        files = dict.fromkeys(("train_json", "val_json", "train_images", "val_images"), "")
        changes |= {"path": data, **files, "voc_train": [], "voc_val": []}
    if on_bad_image is not None:
        changes["on_bad_image"] = on_bad_image
    return validate(merge(config.model_dump(mode="json"), {"data": changes}))


def _measure(model: LoadedModel, config: Config, split: str, part_offsets: str, limit: int) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    from dprd_cli.data.loading import build_datasets, describe
    from dprd_cli.training.evaluate import evaluate as run_evaluation

    train_set, val_set = build_datasets(
        config.data,
        train=split == "train",
        val=split == "val",
        class_names=model.class_names,
        category_ids=model.category_ids,
    )
    dataset = train_set or val_set
    assert dataset is not None  # one was asked for
    for line in describe(dataset):
        say(line)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("evaluate", total=None)
        measured = run_evaluation(
            model.detector,
            dataset,
            config,
            limit=limit,
            part_offsets=part_offsets,
            device=next(model.detector.parameters()).device,
            with_masks=model.with_masks and dataset.has_masks,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    extra = {key: value for key, value in measured["metrics"].items() if key.startswith(("recall", "part"))}
    return {
        "checkpoint": str(model.source),
        "step": model.step,
        "data": config.data.path,
        "split": split,
        "part_offsets": part_offsets,
        "seconds_per_image": measured["seconds_per_image"],
        **extra,
        **measured["results"],
    }


def _results_path(checkpoint: Path, split: str, part_offsets: str) -> Path:
    name = f"eval_{split}.json" if part_offsets == "learned" else f"eval_{split}_{part_offsets}.json"
    return checkpoint.parent / name if checkpoint.suffix == ".pt" else Path(name)
