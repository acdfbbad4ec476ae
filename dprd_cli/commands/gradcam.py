"""`dprd gradcam`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dprd_cli.commands._options import (
    Data,
    Device,
    Json,
    Weights,
    data_flags,
    print_json,
    progress,
    say,
    with_data,
)

if TYPE_CHECKING:
    from dprd_cli.gradcam.explainer import Compared, Evidence, Explainer
    from dprd_cli.weights.load import LoadedModel

_COMBINED_ROWS = 40
_PRESETS = {
    "cascade-dprd": "Cascade D-PRD",
    "cascade-mrcnn": "Cascade Mask R-CNN",
    "dprd": "D-PRD",
    "mask-rcnn": "Mask R-CNN",
}


def gradcam(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUTS...", help="Images, folders of images, globs.")
    ] = None,
    weights: Weights = "",
    compare: Annotated[
        str,
        typer.Option(
            "--compare",
            metavar="RUN|FILE|NAME",
            help="A second detector, as --weights; cascade-mrcnn: its newest run, else published weights.",
        ),
    ] = "",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the figures go.")] = Path(
        "gradcam"
    ),
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="gradcam, gradcam++, xgradcam, layercam, hirescam, elementwise or eigengradcam.",
        ),
    ] = "gradcam",
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="p2 to p5, or a module of the backbone, such as layer4; by default the level that the "
            "object's box is pooled from.",
        ),
    ] = "",
    score_thresh: Annotated[
        float, typer.Option("--score-thresh", min=0, max=1, help="Detections from this score.")
    ] = 0.5,
    max_objects: Annotated[
        int, typer.Option("--max-objects", min=1, help="The best so many objects of each image.")
    ] = 3,
    all_found: Annotated[
        bool, typer.Option("--all-found", help="Also objects that only the second detector found.")
    ] = False,
    stats: Annotated[
        bool,
        typer.Option("--stats", help="Measure on annotated images how well maps stay on their object."),
    ] = False,
    data: Data = None,
    split: Annotated[str, typer.Option("--split", metavar="val|train", help="With --stats.")] = "val",
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="With --stats: only the first so many images; 0: all.")
    ] = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Show what in the image an object's class score comes from, in one or two detectors (Fig. 5)."""
    from dprd_cli.config.presets import pick
    from dprd_cli.errors import DataError, UsageError
    from dprd_cli.files.results import output_folder
    from dprd_cli.gradcam.explainer import METHODS, Explainer
    from dprd_cli.inference.sources import find_images
    from dprd_cli.weights.find import find_preset
    from dprd_cli.weights.load import load_model

    pick("method", method, METHODS)
    pick("split", split, ("val", "train"))
    if not inputs and not stats:
        raise UsageError("pass images, or --stats to measure on annotated ones")
    if data is not None and not stats:
        raise UsageError("--data: only with --stats")
    paths = find_images(inputs or [])
    specs = [weights, *([find_preset(compare) if compare in _PRESETS else compare] if compare else [])]
    models = [load_model(spec, device or "auto") for spec in specs]
    for model in models:
        say(f"checkpoint: {model.source} ({model.config.preset}, step {model.step})")
    _check_classes(models)
    output_folder(out, paths)
    explainers = [Explainer(model, method=method, layer=layer, min_score=score_thresh) for model in models]
    titles = _titles(models)
    document: dict[str, Any] = {"models": [str(model.source) for model in models], "titles": titles}
    document |= {"method": method, "layer": layer or "pooled from", "score_thresh": score_thresh}
    bad = 0
    if paths:
        images, files, bad = _figures(
            paths, explainers, titles, out, method, score_thresh, max_objects, all_found=all_found
        )
        document |= {"images": images, "files": files}
    if stats:
        document["stats"] = _statistics(models[0], explainers, titles, data, split, limit, out, quiet=json)
    if json:
        print_json(document)
    say(f"results: in {out}/")
    if bad:
        raise DataError(f"{bad} of {len(paths)} images could not be read; the others are in {out}/")


def _figures(
    paths: list[Path],
    explainers: list[Explainer],
    titles: list[str],
    out: Path,
    method: str,
    score_thresh: float,
    max_objects: int,
    *,
    all_found: bool,
) -> tuple[list[dict[str, Any]], list[str], int]:
    """Draw the figures; returns what is on them, their files, and how many images could not be read."""
    from dprd_cli.drawing.style import save_figure
    from dprd_cli.errors import DataError
    from dprd_cli.files.images import read_image
    from dprd_cli.files.results import image_names
    from dprd_cli.gradcam.explainer import compare
    from dprd_cli.gradcam.figures import Exhibit, draw_comparison

    images: list[dict[str, Any]] = []
    files: list[str] = []
    exhibits: list[Exhibit] = []
    for path, name in zip(paths, image_names(paths, ".png", reserved=["gradcam", "stats"]), strict=True):
        try:
            image = read_image(path, explainers[0].loaded.config.data.max_pixels)
        except DataError as error:
            say(f"skipped: {error}")
            continue
        objects = compare(image, explainers, max_objects, all_found=all_found)
        if not objects:
            say(f"{path}: no object reached the score {score_thresh:g}; lower --score-thresh to see more")
        exhibits.append(Exhibit(path.stem, image, objects))
        figure = draw_comparison(exhibits[-1:], titles, method=method, score_thresh=score_thresh)
        save_figure(figure, out / name)
        files.append(str(out / name))
        images.append({"file": str(path), "objects": [_describe(found, titles) for found in objects]})
    drawn = _first_rows(exhibits)
    if len(drawn) > 1:
        figure = draw_comparison(drawn, titles, method=method, score_thresh=score_thresh)
        save_figure(figure, out / "gradcam.png")
        files.append(str(out / "gradcam.png"))
        if len(drawn) < len(exhibits):
            say(f"gradcam.png shows the first {len(drawn)} of {len(exhibits)} images")
    elif len(exhibits) > 1:
        say(f"no gradcam.png: the first images have over {_COMBINED_ROWS} objects; lower --max-objects")
    return images, files, len(paths) - len(exhibits)


def _first_rows(exhibits: list[Any]) -> list[Any]:
    """Return as many images as one figure can hold."""
    rows = 0
    for number, exhibit in enumerate(exhibits):
        rows += max(1, len(exhibit.objects))
        if rows > _COMBINED_ROWS:
            return exhibits[:number]
    return exhibits


def _describe(found: Compared, titles: list[str]) -> dict[str, Any]:
    """Return an object for the JSON document; null for a model that did not find it."""
    pairs = zip(titles, found.evidence, strict=True)
    return {"class": found.name, "models": {t: None if e is None else _row(e) for t, e in pairs}}


def _row(evidence: Evidence) -> dict[str, Any]:
    from dprd_cli.gradcam.figures import share_in_box

    return {
        "score": evidence.score,
        "box": evidence.box.tolist(),
        "layer": evidence.heatmap.layer,
        "share_in_box": share_in_box(evidence),
    }


def _statistics(
    model: LoadedModel,
    explainers: list[Explainer],
    titles: list[str],
    data: str | None,
    split: str,
    limit: int,
    out: Path,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Measure, write `stats.csv` and `stats.png`, and print a table."""
    from dprd_cli.config.presets import pick
    from dprd_cli.data.build import build_dataset, describe
    from dprd_cli.drawing.style import save_figure
    from dprd_cli.files.atomic import write_rows
    from dprd_cli.gradcam.explainer import measure
    from dprd_cli.gradcam.localization import COLUMNS
    from dprd_cli.structures.sample import SPLITS

    config = with_data(model.config, None, data_flags(model.config, data, None))
    dataset = build_dataset(config.data, pick("split", split, SPLITS))
    for line in describe(dataset):
        say(line)
    names = [title.replace("\n", ", ") for title in titles]
    with progress("gradcam") as update:
        found = measure(dataset, explainers, titles=names, limit=limit, progress=update)
    write_rows(out / "stats.csv", COLUMNS, found.rows)
    result = found.result()
    if not found.rows:
        say("no annotated object was found by every detector; lower --score-thresh")
        return result
    save_figure(found.plot(), out / "stats.png")
    if not quiet:
        _print_statistics(result)
    return result


def _print_statistics(result: dict[str, Any]) -> None:
    from dprd_cli.commands._tables import print_rows

    measures = ("share_mask", "share_box", "hit_mask", "hit_box")
    rows: list[tuple[str, ...]] = [
        (row["model"], *(_percent(row[name]) for name in measures)) for row in result["models"]
    ]
    first = result["models"][0]
    uniform = (_percent(first["area_mask"]), _percent(first["area_box"]))
    rows.append(("uniform map", *uniform, *uniform))
    print_rows("", ("energy in mask", "in box", "maximum in mask", "in box"), rows)
    for name, lead in result["lead"].items():
        if lead["mean"] is not None:
            spread = "" if lead["interval"] is None else f" ± {100 * lead['interval']:.1f}"
            say(f"{name}: the first is ahead by {100 * lead['mean']:.1f}{spread} points (95 % interval)")
    say(f"{result['objects']} objects that every detector found; {result['missed']} others left out")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _titles(models: list[LoadedModel]) -> list[str]:
    """Return what to call each model: its architecture, and where two have the same, its run."""
    titles = []
    for model in models:
        preset = model.config.preset
        titles.append(_PRESETS.get(preset.removesuffix("-small").removesuffix("-medium"), preset))
    if len(set(titles)) == len(titles):
        return titles
    named = [f"{title}\n{_run_name(model.source)}" for title, model in zip(titles, models, strict=True)]
    if len(set(named)) == len(named):
        return named
    return [f"{title} ({number})" for number, title in enumerate(named, start=1)]


def _run_name(source: Path) -> str:
    return source.parent.name if source.stem in ("best", "last", "previous") else source.stem


def _check_classes(models: list[LoadedModel]) -> None:
    classes = [{name.casefold() for name in model.class_names} for model in models]
    if len(models) > 1 and not classes[0] & classes[1]:
        say("the two detectors have no class name in common: no object can be matched")
