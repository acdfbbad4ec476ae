"""Figures of the parts in images (the paper's Fig. 6), and how the parts in them deform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.drawing.detections import compare_parts, draw_parts, grid
from dprd_cli.errors import DataError, UserError
from dprd_cli.evaluation.parts import COLUMNS, PartDeformation, PartStatistics
from dprd_cli.files.atomic import write_json, write_rows
from dprd_cli.files.images import write_image
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, output_folder
from dprd_cli.files.results import image_names
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import Predictor, ReadFailure
from dprd_cli.model.parts import decompose
from dprd_cli.runtime.progress import say
from dprd_cli.structures.sample import ImageArray
from dprd_cli.weights.load import LoadedModel

_GRID_LIMIT = 48
_ENDINGS = ("", "_compare", "_stages")  # of an image's figures
_TABLES = ("parts.json", "parts.csv")


@dataclass(frozen=True, slots=True)
class PartFigureOptions:
    """How the parts in images are shown.

    Args:
        output: Folder of the figures; `parts` by default.
        score_thresh: Least score of a detection.
        max_objects: Number of objects of each image, the best ones.
        per_stage: Draw a figure with a panel for each cascade stage, too.
        compare: Draw a figure of reference parts beside deformed parts, too; None: for a single image.
        grid: Draw one figure of all images, too; None: for several images.
        columns: Columns of that figure.
        part_offsets: `learned`, `mean` (one template per part) or `reference` (parts do not move).
    """

    output: OutputChoice = field(default_factory=OutputChoice)
    score_thresh: float = 0.5
    max_objects: int = 10
    per_stage: bool = False
    compare: bool | None = None
    grid: bool | None = None
    columns: int = 4
    part_offsets: str = "learned"


@dataclass(frozen=True, slots=True)
class PartFigureSummary:
    """What was drawn and measured.

    Args:
        checkpoint: The detector's file.
        options: How it was done.
        folder: The folder of the figures.
        deformation: How the parts of the objects that are shown deform.
        files: Everything that was written.
        inputs: Number of images.
        failures: Number of images that could not be read.
    """

    checkpoint: Path
    options: PartFigureOptions
    folder: Path
    deformation: PartDeformation
    files: tuple[Path, ...]
    inputs: int
    failures: int

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        return {
            **_origin(self.checkpoint, self.options),
            "files": [str(path) for path in self.files],
            **self.deformation.to_json(),
        }

    def raise_for_failures(self) -> None:
        """Raise if images could not be read.

        Raises:
            DataError: It says how many.
        """
        if self.failures:
            rest = f"; the others are in {self.folder}/" if self.files else ""
            raise DataError(f"{self.failures} of {self.inputs} images could not be read{rest}")


def visualize_parts(
    model: LoadedModel, paths: Sequence[Path], options: PartFigureOptions | None = None
) -> PartFigureSummary:
    """Draw whole and part boxes in images, and measure how the parts deform.

    Args:
        model: A detector with parts.
        paths: Images; each gets a figure.
        options: How; by default the best ten objects of each image from score 0.5 on.

    Raises:
        UserError: If the detector has no parts.
        UsageError: If they cannot be put where they should be, or the folder holds the images.
        ResourceError: If a figure cannot be written.
    """
    options = options or PartFigureOptions()
    _check_parts(model)
    model = model.with_part_offsets(options.part_offsets)
    names = image_names(paths, ".png", reserved=["grid"])
    stems = [Path(name).stem for name in names]
    every = {f"{stem}{ending}.png" for stem in stems for ending in _ENDINGS} | {"grid.png", *_TABLES}
    with output_folder(options.output, Path("parts"), "visualize-parts", names=every, inputs=paths) as folder:
        return _draw_all(model, paths, stems, options, folder)


def _draw_all(
    model: LoadedModel,
    paths: Sequence[Path],
    stems: Sequence[str],
    options: PartFigureOptions,
    folder: OutputFolder,
) -> PartFigureSummary:
    compare = len(paths) == 1 if options.compare is None else options.compare
    with_grid = len(paths) > 1 if options.grid is None else options.grid
    statistics = PartStatistics(model.class_names)
    files: list[Path] = []
    cells: list[ImageArray] = []
    failures = 0
    predictor = Predictor(model, min_score=options.score_thresh)
    for item, stem in zip(predictor.predict_files(paths), stems, strict=True):
        if isinstance(item, ReadFailure):
            say(f"skipped: {item.message}")
            failures += 1
            continue
        shown = item.best(options.max_objects)
        statistics.add(shown.detections)
        figures = part_figures(shown, model, compare=compare, per_stage=options.per_stage)
        for ending, figure in figures.items():
            files.append(folder.claim(f"{stem}{ending}.png"))
            write_image(files[-1], figure)
        if with_grid and len(cells) < _GRID_LIMIT:
            cells.append(draw_parts(item.image, shown.detections.boxes, shown.detections.part_boxes))
    if cells:
        files.append(_save_grid(cells, folder, options.columns, len(paths) - failures))
    deformation = statistics.result()
    if files:
        files += _save_statistics(deformation, model.source, options, folder)
    return PartFigureSummary(
        model.source, options, folder.path, deformation, tuple(files), len(paths), failures
    )


def _origin(checkpoint: Path, options: PartFigureOptions) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "part_offsets": options.part_offsets,
        "score_thresh": options.score_thresh,
    }


def _check_parts(model: LoadedModel) -> None:
    mode = model.config.model.parts.mode
    if not model.detector.has_parts:
        raise UserError(
            f"{model.source}: this model has no parts (preset {model.config.preset}, "
            f"model.parts.mode={mode}); pass the weights of a dprd or cascade-dprd run"
        )
    if model.detector.part_layer is None:
        say("the parts of this model are fixed: they are the reference parts")


def _save_grid(cells: Sequence[ImageArray], folder: OutputFolder, columns: int, total: int) -> Path:
    if total > len(cells):
        say(f"grid.png shows the first {len(cells)} of {total} images")
    path = folder.claim("grid.png")
    write_image(path, grid(cells, columns))
    return path


def _save_statistics(
    deformation: PartDeformation, checkpoint: Path, options: PartFigureOptions, folder: OutputFolder
) -> list[Path]:
    files = [folder.claim(name) for name in _TABLES]
    write_json(files[0], {**_origin(checkpoint, options), **deformation.to_json()})
    write_rows(files[1], COLUMNS, deformation.rows())
    return files


def part_figures(
    item: Prediction, model: LoadedModel, *, compare: bool, per_stage: bool
) -> dict[str, ImageArray]:
    """Return the figures of one image by the ending of their file names.

    Args:
        item: The image, and its detections that are shown.
        model: What detected them: class names, and which stages have parts.
        compare: Add `_compare`: reference parts beside deformed parts.
        per_stage: Add `_stages`: a panel for each cascade stage.
    """
    found = item.detections
    labels = zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    captions = [f"{model.class_names[label]} {score:.2f}" for label, score in labels]
    figures = {"": draw_parts(item.image, found.boxes, found.part_boxes, captions=captions)}
    if compare and found.part_boxes is not None:
        reference = decompose(found.boxes, found.part_boxes.shape[1])
        figures["_compare"] = compare_parts(item.image, found, reference)
    if per_stage:
        figures["_stages"] = draw_stages(item, model.config.model.cascade.part_stages)
    return figures


def draw_stages(item: Prediction, part_stages: Sequence[int]) -> ImageArray:
    """Draw a panel for the boxes that went into each cascade stage, and one for the final boxes.

    Args:
        item: The image, and its detections that are shown.
        part_stages: Stages (from 1) that pool parts; the others' panels show whole boxes only.
    """
    panels, titles = [], []
    if (trace := item.trace) is not None:
        for index, boxes in enumerate(trace.boxes.unbind(1)):
            pooled = trace.part_boxes if index + 1 in part_stages else None
            parts = None if pooled is None else pooled[:, index]
            panels.append(draw_parts(item.image, boxes, parts))
            titles.append(f"into stage {index + 1}" + (" (no parts)" if parts is None else ""))
    panels.append(draw_parts(item.image, item.detections.boxes, item.detections.part_boxes))
    titles.append("final")
    return grid(panels, 2 if len(panels) > 3 else len(panels), titles)
