"""Is one detector better than another on these images? Both are measured, and the images resampled."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from dprd_cli.config.presets import pick, resolve
from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.data.coco_results import Kind
from dprd_cli.data.formats.problems import first_five
from dprd_cli.drawing.style import save_figure
from dprd_cli.errors import DataError, UsageError
from dprd_cli.evaluation.bootstrap import (
    INTERVAL,
    Difference,
    KindDifferences,
    compare_matches,
    draw_weights,
)
from dprd_cli.evaluation.checkpoint import CheckpointOptions, load_for_measuring, plots_beside, results_path
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.compare_figure import comparison_figure
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate_in_group
from dprd_cli.evaluation.matches import class_matches
from dprd_cli.evaluation.results_file import collect_results, read_results
from dprd_cli.files.atomic import write_json
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, output_file, output_folder
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import progress, say, stage
from dprd_cli.structures.sample import SPLITS, Dataset
from dprd_cli.weights.load import LoadedModel

#: The figure of a comparison.
FIGURE = "difference.png"
#: Files that hold detections, in a folder: of `dprd eval --save-results`, and of `dprd predict --save coco`.
_FOLDERS = (("bbox.json", "segm.json"), ("results.json",))
_WORDS: dict[Kind, str] = {"bbox": "boxes", "segm": "masks"}


@dataclass(frozen=True, slots=True)
class Resampling:
    """How the images are resampled.

    Args:
        count: How many times.
        seed: The same seed gives the same numbers.
    """

    count: int = 1000
    seed: int = 0


class _Run(NamedTuple):
    """One of the two: its name, and its detector on its data, or the files that hold its detections."""

    name: str
    files: tuple[Path, ...]
    model: LoadedModel | None

    @property
    def source(self) -> Path:
        """The checkpoint, or what holds the detections."""
        return Path(self.name) if self.model is None else self.model.source

    def to_json(self) -> dict[str, Any]:
        """Return what the results file says of it."""
        return {
            "run": self.name or str(self.source),
            "source": str(self.source),
            "step": self.model and self.model.step,
        }


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two detectors on the same images.

    Args:
        document: What the results file holds: `bbox` and, where both have masks, `segm` by the names of the
            APs, the same for each of the `classes`, and how it was measured.
        file: The results file.
    """

    document: Mapping[str, Any]
    file: Path


def compare_runs(
    names: tuple[str, str],
    options: CheckpointOptions,
    resampling: Resampling,
    group: ProcessGroup = SINGLE_PROCESS,
) -> RunComparison | None:
    """Measure two detectors on the same images, compare them, and write the results file and the figure.

    Args:
        names: Each is what `--weights` takes, a COCO results file, or a folder of `--save-results`.
        options: What is measured; the weights are the two's.
        resampling: How the images are resampled.
        group: The processes that share the images; all call this.

    Returns:
        The comparison; None on processes that are not the main one.

    Raises:
        UserError: On a checkpoint, results, data or an output that cannot be used, or if the two are not of
            the same classes and images.
    """
    runs = [_find(name, options, group) for name in names]
    datasets = _datasets(runs, options)
    _check_same(names, datasets)
    for line in describe(datasets[0]):
        say(line)
    if not group.is_main:
        for run, dataset in zip(runs, datasets, strict=True):
            _detect(run, dataset, options, group)
        return None
    read = [_read(run, dataset) for run, dataset in zip(runs, datasets, strict=True)]
    place = options.out or results_path(runs[0].source, options, "compare")
    file = output_file(OutputChoice(place, options.overwrite), place)
    with _figures(options, place) as figures:
        found = [_detect(run, dataset, options, group) for run, dataset in zip(runs, datasets, strict=True)]
        first, second = (one or other for one, other in zip(read, found, strict=True))
        assert first is not None
        assert second is not None
        images = next((one.image_ids for one in found if one is not None), first.image_ids)
        for one in (first, second):  # a file's detections may be of more images than were looked at
            one.image_ids = images[: options.limit or None]
        document = {
            **{key: run.to_json() for key, run in zip("ab", runs, strict=True)},
            **_settings(runs, options, resampling),
            **_measure(first, second, _kinds(first, second, datasets[0]), resampling),
        }
        if figures is not None:
            with stage("draw the figure"):
                save_figure(comparison_figure(document), figures.claim(FIGURE))
            say(f"figure: {figures.path / FIGURE}")
    write_json(file, document)
    return RunComparison(document, file)


def _figures(options: CheckpointOptions, file: Path) -> AbstractContextManager[OutputFolder | None]:
    """Hold the folder of the figure, if it is drawn."""
    if not options.draw:
        return nullcontext()
    place = options.plots or plots_beside(file)
    choice = OutputChoice(place, options.overwrite, "--plots")
    return output_folder(choice, place, "eval.comparison", names=(FIGURE,))


def _find(name: str, options: CheckpointOptions, group: ProcessGroup) -> _Run:
    """Return the files of detections that a name stands for, or load its detector."""
    path = Path(name)
    if path.suffix == ".json":
        return _Run(name, (path,), None)
    if path.is_dir() and not any(path.glob("*.pt")):
        for names in _FOLDERS:
            files = tuple(file for one in names if (file := path / one).is_file())
            if files:
                return _Run(name, files, None)
    return _Run(name, (), load_for_measuring(replace(options, weights=name), group))


def _datasets(runs: Sequence[_Run], options: CheckpointOptions) -> tuple[Dataset, Dataset]:
    """Return the split as each of the two sees it; files of detections take the other's."""
    split = pick("split", options.split, SPLITS)
    models = [run.model for run in runs if run.model is not None]
    if not models:
        dataset = build_dataset(_config(runs, options).data, split)
        return dataset, dataset
    paths = [model.config.data.path for model in models]
    if len({os.path.realpath(path) for path in paths}) > 1:
        raise UsageError(
            f"--compare: {runs[0].name} is of the data {paths[0]}, {runs[1].name} of {paths[1]}; pass the "
            "data that both are measured on with --data"
        )
    built = [
        build_dataset(
            model.config.data, split, class_names=model.class_names, category_ids=model.category_ids
        )
        for model in models
    ]
    return built[0], built[-1]


def _config(runs: Sequence[_Run], options: CheckpointOptions) -> Config:
    """Return the configuration whose data the two are measured on."""
    for run in runs:
        if run.model is not None:
            return run.model.config
    if options.data is None:
        raise UsageError("--compare: pass the data that the detections belong to with --data")
    flags = {"data.path": options.data, "data.on_bad_image": options.on_bad_image}
    return resolve(flags=flags, overrides=options.overrides)


def _check_same(names: tuple[str, str], datasets: tuple[Dataset, Dataset]) -> None:
    """Check that both see the same classes, images and objects.

    Raises:
        DataError: If they do not.
    """
    if datasets[0] is datasets[1]:
        return
    classes = [set(zip(one.category_ids, one.class_names, strict=True)) for one in datasets]
    for name, own, others in zip(names, classes, reversed(classes), strict=True):
        if own - others:
            alone = first_five(text for _, text in sorted(own - others))
            raise DataError(
                f"--compare: classes that {name} alone has: {alone}; compare detectors of the same classes"
            )
    if _content(datasets[0]) != _content(datasets[1]):
        raise DataError(
            f"--compare: {names[0]} and {names[1]} are not of the same images and objects; pass what both "
            "are measured on with --data, or --set data.KEY=VALUE"
        )


def _content(dataset: Dataset) -> tuple[list[object], list[object]]:
    tree = dataset.coco()
    images: list[object] = [(one["id"], one["height"], one["width"]) for one in tree["images"]]
    keys = ("image_id", "category_id", "bbox", "iscrowd")
    return images, [[one.get(key) for key in keys] for one in tree["annotations"]]


def _read(run: _Run, dataset: Dataset) -> CocoEvaluator | None:
    """Return an evaluator that holds the detections of a run's files, if it has any."""
    if not run.files:
        return None
    truth, evaluator = dataset.coco(), None
    for file in run.files:
        rows, notes = read_results(file, truth)
        for note in notes:
            say(f"warning: {note}")
        if evaluator is None:
            evaluator = collect_results(rows, truth, dataset.category_ids, dataset.class_names)
        elif rows and "segmentation" not in rows[0]:
            raise DataError(f"{file}: has no masks; move it away, or write it again with --save-results")
        else:
            evaluator.kinds, evaluator.results["segm"] = ("bbox", "segm"), rows
    return evaluator


def _detect(
    run: _Run, dataset: Dataset, options: CheckpointOptions, group: ProcessGroup
) -> CocoEvaluator | None:
    """Return an evaluator that holds what a run's detector finds, if it has one: on the main process."""
    if run.model is None:
        return None
    with progress(f"evaluate {run.source}") as bar:
        how = EvaluationOptions(
            limit=options.limit,
            tta=options.tta,
            tiling=options.tiling,
            masks=run.model.with_masks,
            progress=bar,
        )
        found = evaluate_in_group(run.model.detector, dataset, run.model.config, how, group)
    return None if found is None else found.evaluator


def _kinds(first: CocoEvaluator, second: CocoEvaluator, dataset: Dataset) -> tuple[Kind, ...]:
    """Return what both have detections of: boxes, and perhaps masks."""
    masks = ["segm" in one.kinds for one in (first, second)]
    if any(masks) and not all(masks):
        say("masks are not compared: one of the two has none")
    return ("bbox", "segm") if all(masks) and dataset.has_masks else ("bbox",)


def _settings(runs: Sequence[_Run], options: CheckpointOptions, resampling: Resampling) -> dict[str, Any]:
    """Return what the results file says of how it was measured."""
    return {
        "data": _config(runs, options).data.path,
        "split": options.split,
        "part_offsets": options.part_offsets,
        "tta": options.tta,
        "tile": options.tiling and asdict(options.tiling),
        "resamples": resampling.count,
        "seed": resampling.seed,
        "interval": INTERVAL,
        "unit": "percent",
    }


def _measure(
    first: CocoEvaluator, second: CocoEvaluator, kinds: Sequence[Kind], resampling: Resampling
) -> dict[str, Any]:
    """Return the differences, as the results file has them."""
    weights = draw_weights(len(first.image_ids), resampling.count, resampling.seed)
    found: dict[Kind, KindDifferences] = {}
    objects: dict[int, int] = {}
    for kind in kinds:
        with stage(f"resample the images: {_WORDS[kind]}"):
            ours, theirs = class_matches(first, kind), class_matches(second, kind)
            pair = [[one[ident] for ident in first.category_ids] for one in (ours, theirs)]
            found[kind] = compare_matches(pair[0], pair[1], weights)
        objects = objects or {ident: int(one.objects.sum()) for ident, one in ours.items()}
    names = zip(first.class_names, first.category_ids, strict=True)
    classes = [
        {"name": name, "category_id": ident, "objects": objects[ident]}
        | {kind: _table(one.classes[number]) for kind, one in found.items()}
        for number, (name, ident) in enumerate(names)
    ]
    totals: dict[str, Any] = {kind: _table(one.total) for kind, one in found.items()}
    return {"images": len(first.image_ids), "bbox": None, "segm": None, **totals, "classes": classes}


def _table(differences: Mapping[str, Difference]) -> dict[str, dict[str, float | None]]:
    return {name: one.to_json() for name, one in differences.items()}
