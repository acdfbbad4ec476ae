"""Measuring what a name stands for on a split: a checkpoint, or a file of detections."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from os.path import lexists
from pathlib import Path
from typing import Any

from dprd_cli.config.presets import pick, resolve
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.data.coco_results import Kind
from dprd_cli.data.formats.ids import TEXT_ID
from dprd_cli.errors import UsageError
from dprd_cli.evaluation.analysis import Analysis, Analyst, ImageExample, analyse
from dprd_cli.evaluation.coco import CocoEvaluator, CocoMetrics
from dprd_cli.evaluation.confusion import MATCH_SCORE
from dprd_cli.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate_in_group
from dprd_cli.evaluation.figures import PLOT_FILES, write_analysis
from dprd_cli.evaluation.results_file import collect_results, read_results
from dprd_cli.evaluation.threshold import ScoreThresholds, score_thresholds
from dprd_cli.files.atomic import write_bytes, write_json
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, numbered, output_file, output_folder
from dprd_cli.inference.tiling import Tiling
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import Progress, progress, say, stage
from dprd_cli.structures.sample import SPLITS
from dprd_cli.weights.load import LoadedModel, load_model

RESULTS_FILES = ("bbox.json", "segm.json")


@dataclass(frozen=True, slots=True)
class CheckpointOptions:
    """What is measured, on what, and what is written.

    Args:
        weights: A run folder, a checkpoint, `demo`, published weights; empty for the newest run.
        data: Folder with annotations; the checkpoint's own data by default.
        split: `val`, `train`, or `test-dev`.
        part_offsets: `learned`, `mean` or `reference`.
        tta: Detect at several scales and mirrored.
        tiling: Detect in the tiles of large images too.
        limit: Number of images, the split's first ones; 0 takes all.
        on_bad_image: `error` or `skip`.
        overrides: `data.KEY=VALUE` pairs.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, `fp32` or `bf16`; see `LoadedModel.with_precision`.
        out: The results file; None for `eval_<split>.json` beside the checkpoint, or the next free
            `eval_<split>-2.json`.
        save_results: Folder for the detections, in COCO's results format.
        plots: Folder for the figures; None for one beside the results file.
        draw: Draw figures.
        overwrite: Replace the file, and what was written into the folders before.
    """

    weights: str = ""
    data: str | None = None
    split: str = "val"
    part_offsets: str = "learned"
    tta: bool = False
    tiling: Tiling | None = None
    limit: int = 0
    on_bad_image: str | None = None
    overrides: Sequence[str] = field(default=())
    device: str = "auto"
    precision: str = "auto"
    out: Path | None = None
    save_results: Path | None = None
    plots: Path | None = None
    draw: bool = True
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointEvaluation:
    """What a checkpoint measured on a split.

    Args:
        source: The checkpoint.
        step: Optimiser steps it was trained for.
        options: How it was measured.
        data: Path of the data.
        precision: What the detector computed in, `fp32` or `bf16`.
        evaluation: The numbers.
        file: Where they were written; None where they were not.
    """

    source: Path
    step: int
    options: CheckpointOptions
    data: str
    precision: str
    evaluation: Evaluation
    file: Path | None

    @property
    def metrics(self) -> dict[str, float | None]:
        """All totals, flat: `bbox_AP`, `segm_AP50` ... in percent, `recall50`, `part_iou` as fractions."""
        return self.evaluation.metrics

    def to_json(self) -> dict[str, Any]:
        """Return what the results file holds."""
        return {
            "checkpoint": str(self.source),
            "step": self.step,
            "data": self.data,
            "split": self.options.split,
            "part_offsets": self.options.part_offsets,
            "precision": self.precision,
            "tta": self.options.tta,
            "tile": self.options.tiling and asdict(self.options.tiling),
            **self.evaluation.to_json(),
        }


@dataclass(frozen=True, slots=True)
class FileEvaluation:
    """What a COCO results file measured on a split.

    Args:
        file: The file.
        data: Path of the data.
        split: Which split.
        detections: Rows of the file.
        metrics: The numbers.
        thresholds: Scores of the best F1, over all classes and for each.
    """

    file: Path
    data: str
    split: str
    detections: int
    metrics: CocoMetrics
    thresholds: ScoreThresholds

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-serialisable containers."""
        return {
            "results": str(self.file),
            "data": self.data,
            "split": self.split,
            "detections": self.detections,
            **self.metrics.to_json(),
            "thresholds": self.thresholds.to_json(),
        }


def load_for_measuring(options: CheckpointOptions, group: ProcessGroup) -> LoadedModel:
    """Load the model, with its parts where they are wanted and the data asked for in its configuration."""
    model = group.main_first(lambda: load_model(options.weights, options.device))
    say(f"checkpoint: {model.source} (step {model.step})")
    model = model.with_precision(options.precision, group).with_part_offsets(options.part_offsets)
    return model.with_data(options.data, options.on_bad_image, options.overrides)


def evaluate_checkpoint(
    options: CheckpointOptions,
    group: ProcessGroup = SINGLE_PROCESS,
    on_progress: Progress | None = None,
) -> CheckpointEvaluation | None:
    """Load a checkpoint, measure it on a split, and write the results file and the figures.

    Args:
        options: What is measured.
        group: The processes that share the images; all call this. Law: their number does not change a number.
        on_progress: Called with (images done, images in all); a bar on a terminal by default.

    Returns:
        The numbers; None on processes that are not the main one.

    Raises:
        UserError: On a checkpoint, data or an output that cannot be used.
    """
    model = load_for_measuring(options, group)
    file = options.out or results_path(model.source, options)
    plots = options.plots or plots_beside(file) if options.draw else None
    return evaluate_model(model, replace(options, out=file, plots=plots), group, on_progress)


def evaluate_model(
    model: LoadedModel,
    options: CheckpointOptions,
    group: ProcessGroup = SINGLE_PROCESS,
    on_progress: Progress | None = None,
) -> CheckpointEvaluation | None:
    """Measure a loaded model on a split of its data, and write only what the options name.

    Args:
        model: From `load_for_measuring`, or with its parts and its data where the options want them.
        options: What is measured; no file is written, and nothing is drawn, where `out` and `plots` are None.
        group: As for `evaluate_checkpoint`, as is the next.
        on_progress: Called with (images done, images in all).

    Returns:
        The numbers; None on processes that are not the main one.

    Raises:
        UserError: On data or an output that cannot be used.
    """
    if not group.is_main:
        _measure(model, options, None, group, on_progress=on_progress)
        return None
    file = options.out and output_file(OutputChoice(options.out, options.overwrite), options.out)
    with _folder(options, "--save-results") as saved, _folder(options, "--plots") as plots:
        evaluation = _measure(model, options, plots, group, on_progress=on_progress)
        assert evaluation is not None
        if saved is not None:
            for kind, rows in _source_rows(evaluation.evaluator):
                write_bytes(saved.claim(f"{kind}.json"), json.dumps(rows).encode())
    data = model.config.data.path
    precision = model.detector.precision
    result = CheckpointEvaluation(model.source, model.step, options, data, precision, evaluation, file)
    if file is not None:
        write_json(file, result.to_json())
    return result


@contextmanager
def _folder(options: CheckpointOptions, option: str) -> Iterator[OutputFolder | None]:
    """Hold the folder that an option names, if it does."""
    path = options.plots if option == "--plots" else options.save_results
    command, names = ("eval.plots", PLOT_FILES) if option == "--plots" else ("eval.results", RESULTS_FILES)
    if path is None:
        yield None
        return
    choice = OutputChoice(path, options.overwrite, option)
    with output_folder(choice, path, command, names=names) as folder:
        yield folder


def _source_rows(coco: CocoEvaluator) -> Iterator[tuple[Kind, list[dict[str, Any]]]]:
    """Yield the detections of each kind with the ids of the annotation file."""
    sources = [
        (key, {one["id"]: one[TEXT_ID] for one in coco.ground_truth[entries] if TEXT_ID in one})
        for key, entries in (("image_id", "images"), ("category_id", "categories"))
    ]
    for kind, found in coco.results.items():
        yield kind, [row | {key: ids.get(row[key], row[key]) for key, ids in sources} for row in found]


def evaluate_file(file: Path, options: CheckpointOptions) -> FileEvaluation:
    """Measure the detections of a COCO results file on a split, and draw figures where a folder is named.

    Raises:
        UserError: If the file or the data cannot be used.
    """
    if options.data is None:
        raise UsageError("--results: pass the data that the detections belong to with --data")
    flags = {"data.path": options.data, "data.on_bad_image": options.on_bad_image}
    config = resolve(flags=flags, overrides=options.overrides)
    dataset = build_dataset(config.data, pick("split", options.split, SPLITS))
    truth = dataset.coco()
    rows, notes = read_results(file, truth)
    for note in notes:
        say(f"warning: {note}")
    evaluator = collect_results(rows, truth, dataset.category_ids, dataset.class_names)
    with stage("compute the metrics"):
        metrics = evaluator.summarize()
    with _folder(options, "--plots") as plots:
        if plots is not None:
            _draw(plots, analyse(evaluator))
    return FileEvaluation(file, options.data, options.split, len(rows), metrics, score_thresholds(evaluator))


def _measure(
    model: LoadedModel,
    options: CheckpointOptions,
    plots: OutputFolder | None,
    group: ProcessGroup,
    *,
    on_progress: Progress | None,
) -> Evaluation | None:
    config = model.config
    dataset = build_dataset(
        config.data,
        pick("split", options.split, SPLITS),
        class_names=model.class_names,
        category_ids=model.category_ids,
    )
    for line in describe(dataset):
        say(line)
    alone = plots is not None and group.size == 1
    analyst = Analyst(dataset.coco(), dataset.category_ids, dataset.class_names) if alone else None
    with progress("evaluate") as bar:
        how = EvaluationOptions(
            limit=options.limit,
            tta=options.tta,
            tiling=options.tiling,
            masks=model.with_masks,
            progress=on_progress or bar,
            watch=analyst.watch if analyst else None,
            parts_from=MATCH_SCORE,
        )
        if model.detector.parts_meet and how.evidence_from is None:
            say("which part decided is not told with --tta or --tile: merged detections come from many views")
        evaluation = evaluate_in_group(model.detector, dataset, config, how, group)
    if evaluation is not None and plots and analyst:
        analysis = analyst.result(evaluation.evaluator, evaluation.parts)
        _draw(plots, analysis, analyst.best, analyst.worst)
    elif evaluation is not None and plots:
        say("plots: without best and worst images, which one process alone can show")
        _draw(plots, analyse(evaluation.evaluator, evaluation.parts))
    return evaluation


def _draw(
    folder: OutputFolder,
    analysis: Analysis,
    best: Sequence[ImageExample] = (),
    worst: Sequence[ImageExample] = (),
) -> None:
    with stage("draw the figures"):
        written = write_analysis(folder, analysis, best, worst)
    if analysis.tide.skipped:
        say(f"error types (TIDE): {analysis.tide.skipped}")
    say(f"plots: {len(written)} figures and analysis.json in {folder.path}/")


def results_path(checkpoint: Path, options: CheckpointOptions, word: str = "eval") -> Path:
    """Return where results go if no place is named: beside the checkpoint, or in the current folder.

    Args:
        checkpoint: What was measured.
        options: How.
        word: What the file's name begins with.

    Returns:
        `<word>_<split>.json`, or the next free `<word>_<split>-2.json` unless it may be replaced.
    """
    offsets = [] if options.part_offsets == "learned" else [options.part_offsets]
    tiles = [f"tile{options.tiling.size}"] if options.tiling else []
    name = f"{word}_{'_'.join([options.split, *offsets, *(['tta'] if options.tta else []), *tiles])}.json"
    default = checkpoint.parent / name if checkpoint.suffix == ".pt" else Path(name)
    if options.overwrite:
        return default
    return next(path for path in numbered(default) if not (lexists(path) or lexists(plots_beside(path))))


def plots_beside(file: Path) -> Path:
    """Return the folder of the figures that belong to a results file."""
    return file.with_suffix("" if file.suffix else ".plots")
