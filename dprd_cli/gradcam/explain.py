"""Explains images, and measures on annotated ones, with one detector or two: figures, a table, a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dprd_cli.data.build import build_dataset, describe
from dprd_cli.drawing.style import save_figure
from dprd_cli.errors import DataError
from dprd_cli.files.atomic import write_rows
from dprd_cli.files.images import read_image
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, output_folder
from dprd_cli.files.results import image_names
from dprd_cli.gradcam.comparison import Evidence, ObjectComparison, compare
from dprd_cli.gradcam.explainer import Explainer
from dprd_cli.gradcam.figures import Exhibit, draw_comparison, plot_localization
from dprd_cli.gradcam.localization import COLUMNS, LocalizationStatistics, measure_localization
from dprd_cli.gradcam.models import model_titles
from dprd_cli.runtime.progress import Progress, counted, progress, say
from dprd_cli.structures.sample import Split
from dprd_cli.weights.load import LoadedModel

#: Most objects, of all images, in the figure that shows several images.
COMBINED_ROWS = 40
_MOST = 0.5  # of a map's energy


@dataclass(frozen=True, slots=True)
class StatisticsOptions:
    """The annotated images that maps are measured on.

    Args:
        data: Folder with annotations, or `synthetic`; None takes the data of the first detector.
        split: Which split.
        limit: Number of images, the split's first ones; 0 takes all.
        progress: Called with (images done, images).
    """

    data: str | None = None
    split: Split = "val"
    limit: int = 0
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """How images are explained.

    Args:
        output: Folder of the figures; `gradcam` by default.
        method: A key of `METHODS`.
        layer: Name of a layer, or empty: all levels that each object's box and parts are pooled from.
        score_thresh: Least score of a detection.
        max_objects: Number of objects of each image, the best ones.
        all_found: Explain as many objects again that only the second detector found.
        statistics: Measure on annotated images; None does not.
    """

    output: OutputChoice = field(default_factory=OutputChoice)
    method: str = "hirescam"
    layer: str = ""
    score_thresh: float = 0.5
    max_objects: int = 3
    all_found: bool = False
    statistics: StatisticsOptions | None = None


@dataclass(frozen=True, slots=True)
class ImageExplanation:
    """The explained objects of an image.

    Args:
        file: The image.
        figure: The figure that shows them.
        objects: The objects, best first; may be empty.
    """

    file: Path
    figure: Path
    objects: tuple[ObjectComparison, ...]


@dataclass(frozen=True, slots=True)
class ExplainSummary:
    """What was explained.

    Args:
        models: The detectors' files.
        titles: What each of them is called.
        options: How it was done.
        folder: The folder of the figures.
        inputs: The images given.
        images: Those that could be read.
        combined: The figure of several images, or None.
        statistics: How well maps stay on annotated objects, where that was measured.
    """

    models: tuple[Path, ...]
    titles: tuple[str, ...]
    options: ExplainOptions
    folder: Path
    inputs: tuple[Path, ...]
    images: tuple[ImageExplanation, ...]
    combined: Path | None
    statistics: LocalizationStatistics | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers; `images` and `stats` only where they were asked for."""
        content: dict[str, Any] = {
            "models": [str(path) for path in self.models],
            "titles": list(self.titles),
            "method": self.options.method,
            "layer": self.options.layer or "pooled from",
            "score_thresh": self.options.score_thresh,
        }
        if self.inputs:
            files = [image.figure for image in self.images]
            content["images"] = [
                {"file": str(image.file), "objects": [self._object(found) for found in image.objects]}
                for image in self.images
            ]
            content["files"] = [str(path) for path in (*files, *filter(None, [self.combined]))]
        if self.statistics is not None:
            content["stats"] = self.statistics.to_json()
        return content

    def _object(self, found: ObjectComparison) -> dict[str, Any]:
        """Return an object; null for a model that did not find it."""
        pairs = zip(self.titles, found.evidence, strict=True)
        return {"class": found.name, "models": {t: None if e is None else _evidence_row(e) for t, e in pairs}}

    def raise_for_unread(self) -> None:
        """Raise if images could not be read.

        Raises:
            DataError: It says how many.
        """
        bad = len(self.inputs) - len(self.images)
        if bad:
            rest = f"; the others are in {self.folder}/" if self.images else ""
            raise DataError(f"{bad} of {len(self.inputs)} images could not be read{rest}")


def _evidence_row(evidence: Evidence) -> dict[str, Any]:
    return {
        "score": evidence.score,
        "box": evidence.box.tolist(),
        "layer": evidence.heatmap.layer,
        "share_in_box": evidence.share_in_box,
    }


def explain(
    models: Sequence[LoadedModel], paths: Sequence[Path], options: ExplainOptions | None = None
) -> ExplainSummary:
    """Draw what the class scores of objects come from, in one detector or two, and measure it.

    Args:
        models: One or two detectors; their parameters lose `requires_grad`.
        paths: Images; each gets a figure, and several get one together.
        options: How; by default HiResCAM of the best three objects of each image.

    Raises:
        UsageError: If there is no such layer, or the folder holds the images.
        ResourceError: If a figure cannot be written.
    """
    options = options or ExplainOptions()
    classes = [{name.casefold() for name in model.class_names} for model in models]
    if len(models) > 1 and not classes[0] & classes[1]:
        say("the two detectors have no class name in common: no object can be matched")
    explainers = [
        Explainer(model, method=options.method, layer=options.layer, min_score=options.score_thresh)
        for model in models
    ]
    titles = model_titles(models)
    names = image_names(paths, ".png", reserved=["gradcam", "stats"])
    every = {*names, "gradcam.png", "stats.csv", "stats.png"}
    statistics = None
    with output_folder(options.output, Path("gradcam"), "gradcam", names=every, inputs=paths) as folder:
        images, combined = _explain_images(
            list(zip(paths, names, strict=True)), explainers, titles, options, folder
        )
        if options.statistics is not None:
            statistics = _measure(options.statistics, models[0], explainers, titles, folder)
    return ExplainSummary(
        models=tuple(model.source for model in models),
        titles=titles,
        options=options,
        folder=folder.path,
        inputs=tuple(paths),
        images=tuple(images),
        combined=combined,
        statistics=statistics,
    )


def _explain_images(
    names: Sequence[tuple[Path, str]],
    explainers: Sequence[Explainer],
    titles: tuple[str, ...],
    options: ExplainOptions,
    folder: OutputFolder,
) -> tuple[list[ImageExplanation], Path | None]:
    """Draw a figure of each image that can be read, and one of several; images that cannot are said."""
    found: list[ImageExplanation] = []
    exhibits: list[Exhibit] = []
    least = f"{options.score_thresh:g}"
    for path, name in counted(names, "explain", len(names)):
        try:
            image = read_image(path, explainers[0].loaded.config.data.max_pixels)
        except DataError as error:
            say(f"skipped: {error}")
            continue
        objects = compare(image, explainers, options.max_objects, all_found=options.all_found)
        if not objects:
            say(f"{path}: no object reached the score {least}; lower --score-thresh to see more")
        for line in stray_maps(objects, titles):
            say(f"{path}: {line}")
        exhibits.append(Exhibit(path.stem, image, objects))
        found.append(ImageExplanation(path, folder.claim(name), tuple(objects)))
        _save(exhibits[-1:], titles, options, found[-1].figure)
    drawn = _first_rows(exhibits)
    if len(drawn) > 1:
        combined = folder.claim("gradcam.png")
        _save(drawn, titles, options, combined)
        if len(drawn) < len(exhibits):
            say(f"gradcam.png shows the first {len(drawn)} of {len(exhibits)} images")
        return found, combined
    if len(exhibits) > 1:
        say(f"no gradcam.png: the first images have over {COMBINED_ROWS} objects; lower --max-objects")
    return found, None


def stray_maps(objects: Sequence[ObjectComparison], titles: Sequence[str]) -> list[str]:
    """Return a line for each network that has maps with most of their energy outside the detection's box.

    Args:
        objects: What was compared.
        titles: What each network is called.
    """
    lines = []
    for number, title in enumerate(titles):
        own = [(found.name, found.evidence[number]) for found in objects]
        stray = [
            f"{name} {one.score:.2f} ({100 * one.share_in_box:.0f} % inside)"
            for name, one in own
            if one is not None and one.share_in_box is not None and one.share_in_box < _MOST
        ]
        if stray:
            called = title.replace("\n", ", ")
            lines.append(f"most of the map's energy lies outside the box: {called}: {', '.join(stray)}")
    return lines


def _save(exhibits: Sequence[Exhibit], titles: Sequence[str], options: ExplainOptions, path: Path) -> None:
    figure = draw_comparison(exhibits, titles, method=options.method, score_thresh=options.score_thresh)
    save_figure(figure, path)


def _first_rows(exhibits: list[Exhibit]) -> list[Exhibit]:
    """Return as many images as one figure can hold."""
    rows = 0
    for number, exhibit in enumerate(exhibits):
        rows += max(1, len(exhibit.objects))
        if rows > COMBINED_ROWS:
            return exhibits[:number]
    return exhibits


def _measure(
    options: StatisticsOptions,
    model: LoadedModel,
    explainers: Sequence[Explainer],
    titles: tuple[str, ...],
    folder: OutputFolder,
) -> LocalizationStatistics:
    """Measure, and write `stats.csv` and `stats.png`."""
    dataset = build_dataset(model.with_data(options.data).config.data, options.split)
    for line in describe(dataset):
        say(line)
    names = [title.replace("\n", ", ") for title in titles]
    with progress("measure the maps") as bar:
        found = measure_localization(
            dataset, explainers, titles=names, limit=options.limit, progress=options.progress or bar
        )
    write_rows(folder.claim("stats.csv"), COLUMNS, [record.row() for record in found.records])
    if found.records:
        save_figure(plot_localization(found), folder.claim("stats.png"))
    else:
        say("no annotated object was found by every detector; lower --score-thresh")
    return found.result()
