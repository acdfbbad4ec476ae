"""`dprd eval`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands._options import (
    PART_OFFSETS,
    Data,
    DataOverrides,
    Device,
    Gpus,
    Json,
    OnBadImage,
    PartOffsets,
    Tta,
    Weights,
    data_flags,
    in_processes,
    print_json,
    progress,
    say,
    with_data,
    with_part_offsets,
)

if TYPE_CHECKING:
    from dprd_cli.config.schema import Config
    from dprd_cli.evaluation.analysis import Analysis, ImageExample
    from dprd_cli.runtime.process_group import ProcessGroup
    from dprd_cli.weights.load import LoadedModel


def evaluate(
    context: typer.Context,
    weights: Weights = "",
    data: Data = None,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            metavar="val|train|test-dev",
            help="Which split; test-dev writes files for COCO's evaluation server.",
        ),
    ] = "val",
    part_offsets: PartOffsets = "learned",
    tta: Tta = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Only the first so many images; 0: all.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Results file; eval_<split>.json beside the checkpoint. Of test-dev, a folder.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE",
            help="Measure the detections of a COCO results file instead of running a detector; needs --data.",
        ),
    ] = None,
    save_results: Annotated[
        Path | None,
        typer.Option(
            "--save-results",
            metavar="DIR",
            help="Also write the detections as COCO results: bbox.json, segm.json.",
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            "--plots",
            metavar="DIR",
            help="Where PR curves, the confusion matrix, AP bars, best and worst images go; the folder "
            "eval_<split> beside the checkpoint. Drawn for --results only if given.",
        ),
    ] = None,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draw nothing.")] = False,
    on_bad_image: OnBadImage = None,
    overrides: DataOverrides = None,
    device: Device = None,
    gpus: Gpus = 1,
    json: Json = False,
) -> None:
    """Measure a detector with COCO's metrics, for boxes and masks, over all classes and for each.

    On Pascal VOC's data, VOC's mAP too.
    """
    from dprd_cli.commands._tables import print_results
    from dprd_cli.commands._test_dev import submit
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import UsageError
    from dprd_cli.files.atomic import write_json
    from dprd_cli.files.results import output_folder
    from dprd_cli.runtime.process_group import join_process_group
    from dprd_cli.weights.load import load_model

    pick("split", split, ("val", "train", "test-dev"))
    pick("kind of part offsets", part_offsets, PART_OFFSETS)
    clashes = {"--weights": bool(weights), "--tta": tta, "--out": out, "--save-results": save_results}
    if results is not None and any(clashes.values()):
        names = ", ".join(name for name, given in clashes.items() if given)
        raise UsageError(f"{names}: --results measures a file, and runs no detector")
    if split == "test-dev" and (results or save_results or plots):
        raise UsageError(
            "--results, --save-results, --plots: test-dev has no annotations, and writes files of its own"
        )
    if plots and no_plots:
        raise UsageError("--plots, --no-plots: one of the two")
    if results is not None:
        measured = _measure_file(results, data, split, on_bad_image, overrides, plots)
        if json:
            print_json(measured)
        else:
            print_results(measured)
        return
    if in_processes(context, gpus, device):
        return
    with join_process_group(device or "auto") as group:
        model = group.main_first(lambda: load_model(weights, device or "auto"))
        say(f"checkpoint: {model.source} (step {model.step})")
        model = with_part_offsets(model, part_offsets)
        config = with_data(model.config, overrides, data_flags(model.config, data, on_bad_image))
        if split == "test-dev":
            found = submit(model, config, out, group, part_offsets=part_offsets, limit=limit, tta=tta)
        else:
            path = out or _results_path(model.source, split, part_offsets, tta=tta)
            if path.is_dir():
                raise UsageError(f"--out {path}: a folder; name a file")
            drawn = None if no_plots else plots or path.with_suffix("" if path.suffix else ".plots")
            for folder in filter(None, (path.parent, save_results, drawn)):
                output_folder(folder, [])
            found = _measure(
                model,
                config,
                split,
                part_offsets,
                limit,
                group,
                tta=tta,
                save_results=save_results,
                plots=drawn,
            )
    if not group.is_main:
        return
    if split == "test-dev":
        if json:
            print_json(found)
        say(f"results: {', '.join(found['files'])}")
        return
    write_json(path, found)
    if json:
        print_json(found)
    else:
        print_results(found)
    say(f"results: {path}")


def _measure_file(
    path: Path,
    data: str | None,
    split: str,
    on_bad_image: str | None,
    overrides: list[str] | None,
    plots: Path | None,
) -> dict[str, Any]:
    """Measure a COCO results file on a split."""
    from dprd_cli.config.presets import pick, resolve
    from dprd_cli.data.build import build_dataset
    from dprd_cli.errors import UsageError
    from dprd_cli.evaluation.analysis import analyse
    from dprd_cli.evaluation.results_file import collect_results, read_results
    from dprd_cli.files.results import output_folder
    from dprd_cli.structures.sample import SPLITS

    if data is None:
        raise UsageError("--results: pass the data that the detections belong to with --data")
    flags = {"data.path": data, "data.on_bad_image": on_bad_image}
    config = resolve(flags=flags, overrides=overrides or [])
    dataset = build_dataset(config.data, pick("split", split, SPLITS))
    truth = dataset.coco()
    rows = read_results(path, truth)
    evaluator = collect_results(rows, truth, dataset.category_ids, dataset.class_names)
    measured = evaluator.summarize()
    if plots is not None:
        _draw(output_folder(plots, []), analyse(evaluator))
    return {"results": str(path), "data": data, "split": split, "detections": len(rows)} | measured.to_json()


def _measure(
    model: LoadedModel,
    config: Config,
    split: str,
    part_offsets: str,
    limit: int,
    group: ProcessGroup,
    *,
    tta: bool,
    save_results: Path | None,
    plots: Path | None,
) -> dict[str, Any]:
    from dprd_cli.config.presets import pick
    from dprd_cli.data.build import build_dataset, describe
    from dprd_cli.evaluation.analysis import Analyst, analyse
    from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate_in_group
    from dprd_cli.structures.sample import SPLITS

    dataset = build_dataset(
        config.data,
        pick("split", split, SPLITS),
        class_names=model.class_names,
        category_ids=model.category_ids,
    )
    for line in describe(dataset):
        say(line)
    alone = plots is not None and group.size == 1
    analyst = Analyst(dataset.coco(), dataset.category_ids, dataset.class_names) if alone else None
    with progress("evaluate") as update:
        options = EvaluationOptions(
            limit=limit,
            tta=tta,
            masks=model.with_masks,
            save_results=save_results,
            progress=update,
            watch=analyst.watch if analyst else None,
        )
        measured = evaluate_in_group(model.detector, dataset, config, options, group)
    if measured is None:
        return {}
    if plots and analyst:
        _draw(plots, analyst.result(measured.evaluator), analyst.best, analyst.worst)
    elif plots:
        say("plots: without best and worst images and part deformation, which one process alone can show")
        _draw(plots, analyse(measured.evaluator))
    return {
        "checkpoint": str(model.source),
        "step": model.step,
        "data": config.data.path,
        "split": split,
        "part_offsets": part_offsets,
        "tta": tta,
        **measured.to_json(),
    }


def _draw(
    folder: Path, analysis: Analysis, best: Sequence[ImageExample] = (), worst: Sequence[ImageExample] = ()
) -> None:
    from dprd_cli.evaluation.figures import write_analysis

    written = write_analysis(folder, analysis, best, worst)
    if analysis.tide.skipped:
        say(f"error types (TIDE): {analysis.tide.skipped}")
    say(f"plots: {len(written)} figures and analysis.json in {folder}/")


def _results_path(checkpoint: Path, split: str, part_offsets: str, *, tta: bool) -> Path:
    marks = [split, *([] if part_offsets == "learned" else [part_offsets]), *(["tta"] if tta else [])]
    name = f"eval_{'_'.join(marks)}.json"
    return checkpoint.parent / name if checkpoint.suffix == ".pt" else Path(name)
