"""Figures of the parts in images (the paper's Fig. 6), and how the parts in them deform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.drawing.parts import ObjectParts, add_legend, compare_parts, draw_object, draw_parts
from dprd_cli.drawing.sheet import grid
from dprd_cli.errors import DataError, UserError
from dprd_cli.evaluation.parts import COLUMNS, PartDeformation, PartStatistics
from dprd_cli.files.atomic import write_json, write_rows
from dprd_cli.files.images import write_image
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, output_folder
from dprd_cli.files.results import image_names
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import Predictor, ReadFailure
from dprd_cli.runtime.progress import counted, say
from dprd_cli.structures.sample import ImageArray
from dprd_cli.weights.load import LoadedModel

_GRID_LIMIT = 48  # objects
_LONG_SIDE, _SHEET_WIDTH = 2000, 1600  # pixels of an image, at most; of several images together
_SUFFIX = ".jpg"  # figures are of photographs, mostly
_GRID = f"grid{_SUFFIX}"
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
        compare: Draw a figure of reference parts beside deformed parts, too.
        grid: Draw one figure of the objects of all images, too; None: for several images.
        columns: Columns of that figure.
        style: One of `drawing.parts.STYLES`.
        part_offsets: `learned`, `mean` (one template per part) or `reference` (parts do not move).
    """

    output: OutputChoice = field(default_factory=OutputChoice)
    score_thresh: float = 0.5
    max_objects: int = 10
    per_stage: bool = False
    compare: bool = False
    grid: bool | None = None
    columns: int = 4
    style: str = "tones"
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
    names = image_names(paths, _SUFFIX, reserved=["grid"])
    stems = [Path(name).stem for name in names]
    every = {f"{stem}{ending}{_SUFFIX}" for stem in stems for ending in _ENDINGS} | {_GRID, *_TABLES}
    with output_folder(options.output, Path("parts"), "visualize-parts", names=every, inputs=paths) as folder:
        return _draw_all(model, paths, stems, options, folder)


def _draw_all(
    model: LoadedModel,
    paths: Sequence[Path],
    stems: Sequence[str],
    options: PartFigureOptions,
    folder: OutputFolder,
) -> PartFigureSummary:
    with_grid = len(paths) > 1 if options.grid is None else options.grid
    statistics = PartStatistics(model.class_names, model.detector.place_shifts)
    files: list[Path] = []
    cells: list[ImageArray] = []
    titles: list[str] = []
    failures = 0
    predictor = Predictor(model, min_score=options.score_thresh, masks=False, evidence=True)
    found = zip(predictor.predict_files(paths), stems, strict=True)
    for item, stem in counted(found, "draw the parts", len(paths)):
        if isinstance(item, ReadFailure):
            say(f"skipped: {item.message}")
            failures += 1
            continue
        shown = item.best(options.max_objects)
        statistics.add(shown.detections)
        figures = part_figures(
            shown, model, compare=options.compare, per_stage=options.per_stage, style=options.style
        )
        for ending, figure in figures.items():
            files.append(folder.claim(f"{stem}{ending}{_SUFFIX}"))
            write_image(files[-1], figure)
        if with_grid and len(cells) < _GRID_LIMIT:
            cells += draw_objects(shown, style=options.style)
            titles += [f"{caption}  ({stem})" for caption in _captions(shown)]
    deformation = statistics.result()
    if cells:
        files.append(_save_grid(cells, titles, folder, options, deformation))
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
    if not model.detector.parts_meet:
        say("which part decided cannot be told: no stage of this model assembles its parts")


def _save_grid(
    cells: Sequence[ImageArray],
    titles: Sequence[str],
    folder: OutputFolder,
    options: PartFigureOptions,
    deformation: PartDeformation,
) -> Path:
    objects = deformation.total.objects if deformation.total else 0
    if objects > _GRID_LIMIT:
        say(f"{_GRID} shows the first {_GRID_LIMIT} of {objects} objects")
    path = folder.claim(_GRID)
    sheet = grid(cells[:_GRID_LIMIT], options.columns, titles[:_GRID_LIMIT], width=_SHEET_WIDTH)
    if options.style != "paper" and deformation.total is not None:
        sheet = add_legend(sheet, len(deformation.parts), options.style, falls=deformation.total.is_told)
    write_image(path, sheet)
    return path


def _save_statistics(
    deformation: PartDeformation, checkpoint: Path, options: PartFigureOptions, folder: OutputFolder
) -> list[Path]:
    files = [folder.claim(name) for name in _TABLES]
    write_json(files[0], {**_origin(checkpoint, options), **deformation.to_json()})
    write_rows(files[1], COLUMNS, deformation.rows())
    return files


def part_figures(
    item: Prediction, model: LoadedModel, *, compare: bool, per_stage: bool, style: str = "tones"
) -> dict[str, ImageArray]:
    """Return the figures of one image by the ending of their file names.

    Args:
        item: The image, and its detections that are shown.
        model: What detected them: class names, and which stages have parts.
        compare: Add `_compare`: reference parts beside deformed parts.
        per_stage: Add `_stages`: a panel for each cascade stage.
        style: One of `drawing.parts.STYLES`.
    """
    found = item.detections
    figures = {"": draw_scene(item, style=style)}
    if compare and found.part_boxes is not None:
        pair = compare_parts(item.image, found.boxes, found.part_boxes, style=style, longest=_LONG_SIDE // 2)
        width = 2 * pair[0].shape[1] + 30
        figures["_compare"] = grid(pair, 2, ["reference parts", "deformed parts"], width=width)
    if per_stage:
        figures["_stages"] = draw_stages(item, model.config.model.cascade.part_stages, style=style)
    return figures


def draw_scene(item: Prediction, *, style: str = "tones") -> ImageArray:
    """Draw whole and part boxes in an image, and each object cut out below it, unless one fills the image.

    Args:
        item: The image, and its detections that are shown.
        style: One of `drawing.parts.STYLES`.
    """
    found, alone = item.detections, style == "paper" or _fills(item)
    drawn = draw_parts(
        item.image,
        found.boxes,
        found.part_boxes,
        captions=_captions(item),
        style=style,
        falls=found.part_falls if alone else None,
        detailed=alone,
        longest=_LONG_SIDE,
    )
    if found.part_boxes is None or not len(item) or style == "paper":
        return drawn
    if not alone:
        width = max(drawn.shape[1], _SHEET_WIDTH * 5 // 8)
        columns = 3 if width < _SHEET_WIDTH else 4
        below = grid(draw_objects(item, style=style), columns, _captions(item), width=width)
        drawn = grid([drawn, below], 1, width=width, gap=0)
    return add_legend(drawn, found.part_boxes.shape[1], style, falls=found.part_falls is not None)


def draw_objects(item: Prediction, *, style: str = "tones") -> list[ImageArray]:
    """Draw each object of an image on its own, cut out and enlarged.

    Args:
        item: The image, and its detections that are shown.
        style: One of `drawing.parts.STYLES`.
    """
    found = item.detections
    if found.part_boxes is None:
        return []
    return [
        draw_object(
            item.image,
            ObjectParts(
                found.boxes[index],
                found.part_boxes[index],
                None if found.part_falls is None else found.part_falls[index],
            ),
            style=style,
        )
        for index in range(len(found))
    ]


def draw_stages(item: Prediction, part_stages: Sequence[int], *, style: str = "tones") -> ImageArray:
    """Draw a panel for the boxes that went into each cascade stage, and one for the final boxes.

    Args:
        item: The image, and its detections that are shown.
        part_stages: Stages (from 1) that pool parts; the others' panels show whole boxes only.
        style: One of `drawing.parts.STYLES`.
    """
    panels, titles, alone = [], [], _fills(item)
    if (trace := item.trace) is not None:
        for index, boxes in enumerate(trace.boxes.unbind(1)):
            pooled = trace.part_boxes if index + 1 in part_stages else None
            parts = None if pooled is None else pooled[:, index]
            panels.append(
                draw_parts(item.image, boxes, parts, style=style, detailed=alone, longest=_LONG_SIDE // 2)
            )
            titles.append(f"into stage {index + 1}" + (" (no parts)" if parts is None else ""))
    found = item.detections
    panels.append(
        draw_parts(
            item.image, found.boxes, found.part_boxes, style=style, detailed=alone, longest=_LONG_SIDE // 2
        )
    )
    titles.append("final")
    return grid(panels, 2 if len(panels) > 3 else len(panels), titles, width=_SHEET_WIDTH)


def _fills(item: Prediction) -> bool:
    """Whether there is one object alone, over half the image."""
    if len(item) != 1:
        return False
    x1, y1, x2, y2 = item.detections.boxes[0].tolist()
    largest: float = max((x2 - x1) / item.image_size[1], (y2 - y1) / item.image_size[0])
    return largest > 0.5


def _captions(item: Prediction) -> list[str]:
    scores = item.detections.scores.tolist()
    return [f"{name} {score:.2f}" for name, score in zip(item.class_names, scores, strict=True)]
