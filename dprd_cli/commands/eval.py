"""`dprd eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import DATA, INPUT, OUTPUT
from dprd_cli.commands._options import (
    PART_OFFSETS,
    Data,
    DataOverrides,
    Device,
    Gpus,
    Json,
    OnBadImage,
    Overlap,
    Overwrite,
    PartOffsets,
    Plugins,
    Precision,
    Tile,
    Tta,
    Weights,
    in_processes,
    print_json,
    say,
)

if TYPE_CHECKING:
    from dprd_cli.evaluation.checkpoint import CheckpointOptions


def evaluate(
    context: typer.Context,
    weights: Weights = "",
    data: Data = None,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            metavar="NAME",
            help="val, train, or test-dev (which writes files for COCO's evaluation server).",
            rich_help_panel=DATA,
        ),
    ] = "val",
    part_offsets: PartOffsets = "learned",
    tta: Tta = False,
    tile: Tile = None,
    overlap: Overlap = 0.2,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help="Only the first so many images; all by default.",
            rich_help_panel=DATA,
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Results file; by default eval_<split>.json (--compare: compare_<split>.json) beside the "
            "checkpoint, or if that is there, eval_<split>-2.json, ... Of test-dev, a folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE",
            help="Measure the detections of a COCO results file instead of running a detector; needs --data.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            autocompletion=_complete.weights,
            help="Is A better than B on these images, beyond chance in which images they are? Each is what "
            "--weights takes, or detections: a results file, or a folder of --save-results.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option(
            "--resamples",
            metavar="N",
            min=20,
            help="How many times --compare draws the images anew; 1000 by default.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="Seed of these draws; 0 by default, so that the numbers are the same each time.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    save_results: Annotated[
        Path | None,
        typer.Option(
            "--save-results",
            metavar="DIR",
            help="Also write the detections as COCO results: bbox.json, segm.json.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            "--plots",
            metavar="DIR",
            help="Where PR curves, the confusion matrix, AP bars, best and worst images go; the folder "
            "of the results file's name, beside it. Drawn for --results only if given.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    no_plots: Annotated[
        bool, typer.Option("--no-plots", help="Draw nothing.", rich_help_panel=OUTPUT)
    ] = False,
    on_bad_image: OnBadImage = None,
    overrides: DataOverrides = None,
    device: Device = None,
    precision: Precision = None,
    gpus: Gpus = 1,
    plugins: Plugins = None,
    json: Json = False,
) -> None:
    """Measure a detector with COCO's metrics, for boxes and masks, over all classes and for each.

    On Pascal VOC's data, VOC's mAP too. Or compare two detectors: --compare.
    """
    from dprd_cli.config.plugins import load_plugins
    from dprd_cli.evaluation.checkpoint import CheckpointOptions, evaluate_file
    from dprd_cli.inference.tiling import Tiling

    _check(split, part_offsets)
    resampling = {"count": resamples, "seed": seed}
    _check_compared(
        compare,
        split,
        clashes={"--weights": weights, "--results": results, "--save-results": save_results},
        resampling=resampling,
    )
    _check_together(
        results,
        split,
        clashes={
            "--weights": weights,
            "--tta": tta,
            "--tile": tile,
            "--limit": limit,
            "--out": out,
            "--save-results": save_results,
        },
        drawing=(plots, no_plots),
        writes=bool(results or save_results or plots),
    )
    options = CheckpointOptions(
        weights=weights,
        data=data,
        split=split,
        part_offsets=part_offsets,
        tta=tta,
        tiling=None if tile is None else Tiling(tile, overlap),
        limit=limit,
        on_bad_image=on_bad_image,
        overrides=overrides or [],
        device=device or "auto",
        precision=precision or "auto",
        out=out,
        save_results=save_results,
        plots=plots,
        draw=not no_plots,
        overwrite=overwrite,
    )
    if results is None and in_processes(context, gpus, device):
        return
    load_plugins(plugins or [])
    if results is not None:
        _show(evaluate_file(results, options).to_json(), as_json=json)
    elif compare is not None:
        _compare(compare, options, resampling, as_json=json)
    else:
        _evaluate(options, as_json=json)


def _evaluate(options: CheckpointOptions, *, as_json: bool) -> None:
    from dprd_cli.evaluation.checkpoint import evaluate_checkpoint
    from dprd_cli.evaluation.coco_test_dev import write_test_dev
    from dprd_cli.runtime.process_group import join_process_group

    with join_process_group(options.device) as group:
        if options.split == "test-dev":
            submission = write_test_dev(options, group)
            if submission is not None and as_json:
                print_json(submission.to_json())
            if submission is not None:
                say(f"results: {', '.join(map(str, submission.files))}")
            return
        measured = evaluate_checkpoint(options, group)
    if measured is not None:
        _show(measured.to_json(), as_json=as_json)
        say(f"results: {measured.file}")


def _compare(
    names: tuple[str, str],
    options: CheckpointOptions,
    resampling: dict[str, int | None],
    *,
    as_json: bool,
) -> None:
    from dprd_cli.commands._comparison_tables import print_comparison
    from dprd_cli.evaluation.compare import Resampling, compare_runs
    from dprd_cli.runtime.process_group import join_process_group

    how = Resampling(**{key: value for key, value in resampling.items() if value is not None})
    with join_process_group(options.device) as group:
        compared = compare_runs(names, options, how, group)
    if compared is None:
        return
    if as_json:
        print_json(dict(compared.document))
    else:
        print_comparison(compared.document)
    say(f"results: {compared.file}")


def _show(measured: dict[str, Any], *, as_json: bool) -> None:
    from dprd_cli.commands._tables import print_results

    if as_json:
        print_json(measured)
    else:
        print_results(measured)


def _check(split: str, part_offsets: str) -> None:
    from dprd_cli.config.presets import pick

    pick("split", split, ("val", "train", "test-dev"))
    pick("kind of part offsets", part_offsets, PART_OFFSETS)


def _check_compared(
    compared: tuple[str, str] | None,
    split: str,
    *,
    clashes: dict[str, object],
    resampling: dict[str, int | None],
) -> None:
    """Check that the options of a comparison go together.

    Raises:
        UsageError: Naming those that do not.
    """
    from dprd_cli.errors import UsageError

    if compared is None:
        if any(value is not None for value in resampling.values()):
            raise UsageError("--resamples, --seed: for --compare A B")
        return
    if any(clashes.values()):
        names = ", ".join(name for name, given in clashes.items() if given)
        raise UsageError(f"{names}: --compare names both that are measured; leave it out")
    if split == "test-dev":
        raise UsageError("--compare: test-dev has no annotations; take val or train")


def _check_together(
    results: Path | None,
    split: str,
    *,
    clashes: dict[str, object],
    drawing: tuple[Path | None, bool],
    writes: bool,
) -> None:
    """Check that the options go together.

    Raises:
        UsageError: Naming those that do not.
    """
    from dprd_cli.errors import UsageError

    if results is not None and any(clashes.values()):
        names = ", ".join(name for name, given in clashes.items() if given)
        raise UsageError(f"{names}: --results measures a file, and runs no detector")
    if split == "test-dev" and writes:
        raise UsageError(
            "--results, --save-results, --plots: test-dev has no annotations, and writes files of its own"
        )
    if all(drawing):
        raise UsageError("--plots, --no-plots: one of the two")
