"""The sections about one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dprd_cli.config.tree import flatten, to_toml, validate
from dprd_cli.errors import UserError
from dprd_cli.evaluation.analysis import APS
from dprd_cli.evaluation.figures import (
    IOUS,
    KINDS,
    class_figure,
    confusion_figure,
    mean_ap,
    parts_figure,
    pr_figure,
    row_shares,
    size_figure,
    tide_figure,
)
from dprd_cli.report.curves import draw, run_panels
from dprd_cli.report.html import (
    Html,
    details,
    dotted,
    element,
    embed_image,
    embedded,
    figure,
    inline,
    join,
    note,
    number,
    section,
    table,
    text,
)
from dprd_cli.report.measure import Map, Measured, Pair
from dprd_cli.report.runs import Run, changed_settings

_PLURALS = {"bbox": "boxes", "segm": "masks"}
_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")
_MATRIX_CLASSES = 20  # larger confusion matrices are drawn, not written
_CONFUSIONS = 12


class Report:
    """What sections share: the numbering of figures, and what each run has.

    Args:
        runs: The page's runs.
        measured: By run name: what was measured for the page.
        left_out: By run name: why nothing was.
    """

    def __init__(
        self, runs: Sequence[Run], measured: Mapping[str, Measured], left_out: Mapping[str, str]
    ) -> None:
        self.runs, self.measured, self.left_out = runs, measured, left_out
        self._numbers = count()

    def svg(self, drawn: Figure, alt: str) -> Html:
        """Return a figure as SVG with ids of its own."""
        return inline(drawn, alt, next(self._numbers))

    def anchor(self, run: Run, part: str = "") -> str:
        """Return the id of a run's section, or of a part of it."""
        return f"run{self.runs.index(run) + 1}" + (f"-{part}" if part else "")

    def analysis(self, run: Run) -> dict[str, Any] | None:
        """Return the page's own analysis, else the one that `dprd eval` left, else None."""
        if run.name in self.measured:
            return self.measured[run.name].analysis
        return run.analysis.content if run.analysis is not None else None

    def config(self, run: Run) -> dict[str, Any]:
        """Return the run's settings, by its file or its checkpoint; empty where neither is known."""
        return run.config or (self.measured[run.name].config if run.name in self.measured else {})


def run_sections(page: Report, run: Run) -> list[tuple[str, str, Html]]:
    """Return (title, anchor, HTML) of each section about a run."""
    makers: dict[str, tuple[str, Callable[[Report, Run], Html]]] = {
        "accuracy": ("Accuracy", accuracy),
        "curves": ("Training", training),
        "pr": ("Precision and recall", precision_recall),
        "confusion": ("Confusion", confusion),
        "images": ("Worst and best images", images),
        "parts": ("Parts", parts),
        "gradcam": ("Grad-CAM", gradcam),
        "config": ("Settings", settings),
        "environment": ("Environment", environment),
    }
    made = []
    for part, (title, maker) in makers.items():
        anchor = page.anchor(run, part)
        try:
            content = maker(page, run)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            # files of a run may hold anything
            why = f"{type(error).__name__}: {error}"
            content = note(f"Not shown: the run's files are not as expected ({why}).")
        made.append((title, anchor, section(title, anchor, content)))
    return made


def measured_on(page: Report, run: Run) -> Html:
    """Say on which images the page's own numbers rest, or where else they come from."""
    if run.name in page.measured:
        found = page.measured[run.name]
        some = f"the first {found.images} of {found.total}"
        which = f"all {found.total}" if found.images == found.total else some
        return note(
            f"Measured for this page: {found.checkpoint.name}, step {found.step}, on {which} images of "
            f"{found.data}."
        )
    why = page.left_out.get(run.name, "")
    if run.analysis is not None:
        images = run.analysis.content.get("images", "an unknown number of")
        return note(f"{why} From {run.analysis.file}: {images} images.")
    return note(f"{why} Nothing to show without it.")


def accuracy(page: Report, run: Run) -> Html:
    """AP of boxes and masks from every source, by class, and by size."""
    rows: list[Sequence[Any]] = []
    sources = [(f"{one.file}, {one.content.get('images', '?')} images", one.content) for one in run.recorded]
    if run.name in page.measured:
        own = page.measured[run.name]
        sources.insert(0, (f"this page, {own.images} images", own.results))
    for source, content in sources:
        for kind, title in KINDS.items():
            if isinstance(content.get(kind), dict):
                rows.append(
                    (dotted(f"{title}: {source}"), *(number(content[kind].get(name)) for name in _METRICS))
                )
    if not rows:
        return join((measured_on(page, run), note("No AP: no evaluation was recorded.")))
    shown: list[Html] = [table("COCO metrics in percent", ("", *_METRICS), rows)]
    analysis = page.analysis(run)
    if analysis is None:
        classes = run.recorded[0].content.get("classes") or []
        columns = {
            "bbox_ap": "box AP",
            "bbox_ap50": "box AP50",
            "segm_ap": "mask AP",
            "segm_ap50": "mask AP50",
        }
        cells = [(row["name"], row["objects"], *(number(row.get(key)) for key in columns)) for row in classes]
        head = ("class", "objects", *columns.values())
        shown.append(table(f"By class ({run.recorded[0].file})", head, cells))
        return join((measured_on(page, run), *shown))
    names, aps = analysis["class_names"], analysis["ap"]
    for kind in aps:
        cells = [
            (name, objects, *(number(row[key]) for key in APS))
            for name, objects, row in zip(names, analysis["objects"], aps[kind], strict=True)
        ]
        cells.append(("all", sum(analysis["objects"]), *(number(mean_ap(aps[kind], key)) for key in APS)))
        head = ("class", "objects", *APS)
        shown.append(table(f"{KINDS[kind]} AP by class and size", head, cells, class_="total"))
    told = ", ".join(f"{name} {number(row['AP'])}" for name, row in zip(names, aps["bbox"], strict=True))
    charts = element(
        "div",
        figure(page.svg(class_figure(analysis), f"Bars of box AP by class: {told}"), "AP by class (objects)"),
        figure(
            page.svg(size_figure(analysis), "Bars of AP by object size; the table has the numbers"),
            "AP by size: small below 32², large from 96² pixels",
        ),
        class_="charts",
    )
    tables = element("div", *shown[1:], class_="pair")
    return join((measured_on(page, run), shown[0], charts, tables, _tide(page, analysis)))


def _tide(page: Report, analysis: Mapping[str, Any]) -> Html:
    tide = analysis.get("tide") or {}
    if "errors" not in tide:
        return note(f"Error types (TIDE): {tide.get('skipped', 'not measured')}.")
    told = ", ".join(f"{name} {row['delta_ap']:.1f}" for name, row in tide["errors"].items())
    caption = f"Error types (TIDE): box AP50 that would be gained without each, of {tide['ap50']:.1f} now"
    drawn = page.svg(tide_figure(tide), f"Bars of AP50 lost to each error type: {told}")
    return element("div", figure(drawn, caption), class_="charts")


def training(page: Report, run: Run) -> Html:
    """Loss, AP, recall, parts, gradients."""
    panels = run_panels(run.metrics)
    if not panels:
        return note("No training curves: metrics.jsonl is not there or has no rows.")
    drawn = [figure(page.svg(draw(panel), panel.alt()), panel.title) for panel in panels]
    lines = []
    if not any(panel.title == "AP" for panel in panels):
        lines.append(note("No AP during training: the run was not evaluated."))
    if not any(panel.title == "Part IoU" for panel in panels):
        lines.append(note("No part curves: the detector has no parts."))
    return join((element("div", *drawn, class_="charts three"), *lines))


def precision_recall(page: Report, run: Run) -> Html:
    """PR curves at three IoUs, for boxes and masks."""
    analysis = page.analysis(run)
    if analysis is None:
        return measured_on(page, run)
    rows = []
    for kind in analysis["curves"]:
        drawn = []
        for name, title in IOUS.items():
            mean = analysis["curves"][kind]["mean"][name]
            told = "no object" if mean is None else f"mean precision {np.mean(mean):.2f}"
            alt = f"Precision over recall of {_PLURALS[kind]} at {title}: {told}"
            drawn.append(figure(page.svg(pr_figure(analysis, kind, [name]), alt)))
        rows.append(element("h4", _PLURALS[kind].capitalize()))
        rows.append(element("div", *drawn, class_="charts three"))
    if "segm" not in analysis["curves"]:
        rows.append(note("No masks: the detector or the data has none."))
    return join((measured_on(page, run), *rows))


def confusion(page: Report, run: Run) -> Html:
    """The confusion matrix with background, as a table where it is small."""
    analysis = page.analysis(run)
    if analysis is None:
        return measured_on(page, run)
    matrix, names = np.asarray(analysis["confusion"]), [*analysis["class_names"], "background"]
    rule = (
        f"Boxes of score {analysis['score_thresh']:g} or more, matched at IoU {analysis['iou_thresh']:g}: "
        "with objects of their class first, then with any. Rows are what is annotated, columns what was "
        "detected; the last column counts objects that were missed, the last row detections of nothing. "
        "Shades are shares of the row."
    )
    if len(names) <= _MATRIX_CLASSES + 1:
        shares = row_shares(matrix)
        rows: list[list[Any]] = []
        for index, name in enumerate(names):
            pairs = zip(matrix[index], shares[index], strict=True)
            cells = [_shaded(int(value), share) for value, share in pairs]
            rows.append([name, *cells])
        head = ("annotated as", *names[:-1], "missed")
        shown = table("Confusion matrix: objects", head, rows, class_="confusion")
    else:
        drawn = page.svg(confusion_figure(analysis), "Confusion matrix; the table has its largest entries")
        shown = join((figure(drawn, class_="wide"), _most_confused(matrix, names)))
    return join((measured_on(page, run), shown, note(rule)))


def _shaded(value: int, share: float) -> Html:
    return element("span", value if value else "·", style=f"--share:{share:.3f}", class_="cell")


def _most_confused(matrix: np.ndarray, names: Sequence[str]) -> Html:
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    off = off[:-1, :-1]
    order = np.argsort(off, axis=None)[::-1][:_CONFUSIONS]
    pairs = [np.unravel_index(index, off.shape) for index in order if off.flat[index]]
    rows = [(names[row], names[column], off[row, column]) for row, column in pairs]
    return table("Most frequent confusions", ("annotated as", "detected as", "objects"), rows)


def images(page: Report, run: Run) -> Html:
    """The worst and best images, annotated and detected."""
    rule = note(
        "By an image's F1 = 2 TP / (2 TP + FP + FN) of boxes of score 0.5 or more, averaged over IoU 0.5 to "
        "0.95. Left what is annotated, right what was detected, parts in orange."
    )
    if run.name not in page.measured:
        if not run.drawn:
            return measured_on(page, run)
        shown = [
            figure(embedded(run.drawn[name].read_bytes(), "image/jpeg", f"The {name} images"), name)
            for name in ("worst", "best")
            if name in run.drawn
        ]
        return join((measured_on(page, run), rule, *shown))
    found = page.measured[run.name]
    content: list[Html] = []
    for title, pairs in (("Worst", found.worst), ("Best", found.best)):
        content.append(element("h4", title))
        content.append(element("div", *map(_pair, pairs), class_="pairs") if pairs else note("None."))
    return join((measured_on(page, run), rule, *content))


def _pair(pair: Pair) -> Html:
    sides = element(
        "div",
        embed_image(pair.annotated, f"{pair.name} with its annotations"),
        embed_image(pair.detected, f"{pair.name} with its detections"),
        class_="sides",
    )
    return figure(sides, join((text(pair.name), element("b", f"F1 {pair.f1:.2f}"))))


def parts(page: Report, run: Run) -> Html:
    """How the parts deform, by class."""
    analysis = page.analysis(run)
    if analysis is None:
        return measured_on(page, run)
    found = analysis.get("parts")
    if not found or not found.get("all"):
        return note("No parts: the detector has none, or detected no object of score 0.5 or more.")
    rows = [
        (
            one["name"],
            one["objects"],
            number(one["iou"], 3),
            number(one["abs_dx"], 3),
            number(one["abs_dy"], 3),
            f"{np.exp(one['log_w']):.2f} x {np.exp(one['log_h']):.2f}",
            number(one["motion"], 3),
            number(one["spread_class"], 3),
        )
        for one in (*found["classes"], found["all"])
    ]
    head = ("class", "objects", "IoU", "|dx|", "|dy|", "size", "motion", "adapts")
    legend = (
        "IoU: with the reference parts; |dx|, |dy|: shift in part sizes; size: width x height against the "
        "reference; motion: root mean square of the offsets; adapts: what is left of it after each class's "
        "mean offsets, which is zero where a class has one template."
    )
    alt = f"Mean parts of each class over the reference parts; mean IoU with them {found['all']['iou']:.2f}"
    drawn = figure(page.svg(parts_figure(found), alt), "Mean part boxes; dashed: reference", class_="wide")
    shown = table("Part deformation of detected objects", head, rows, class_="total")
    return join((measured_on(page, run), element("div", shown, drawn, class_="pair parts"), note(legend)))


def gradcam(page: Report, run: Run) -> Html:
    """Grad-CAM of the surest object in each of a few images."""
    if run.name not in page.measured:
        return note(f"{page.left_out.get(run.name, '')} No Grad-CAM without the checkpoint.")
    maps = page.measured[run.name].maps
    if not maps:
        return note("No Grad-CAM: no object reached the score 0.5.")
    rule = note(
        "The surest object of each image above: Grad-CAM of its class logit at the pyramid level that its "
        "box is pooled from, scaled by its own extremes; its whole and part boxes in orange."
    )
    return join((rule, element("div", *map(_map, maps), class_="maps")))


def _map(one: Map) -> Html:
    share = "no gradient" if one.share is None else f"{100 * one.share:.0f} % of the energy in its box"
    caption = join((element("b", f"{one.name} {one.score:.2f}"), text(f"{one.layer}, {share}")))
    return figure(embed_image(one.image, f"Grad-CAM of a {one.name}: {share}"), caption)


def settings(page: Report, run: Run) -> Html:
    """Differences to the preset's defaults, then everything."""
    config = page.config(run)
    if not config:
        return note("Settings unknown: there is no config.toml.")
    name = f"preset {config.get('preset', '?')}, schedule {config.get('schedule', '?')}"
    changed = changed_settings(config)
    if changed is None:
        shown = note(f"{name}: not known to this version, so there are no defaults to compare with.")
    elif not changed:
        shown = note(f"All settings are the defaults of {name}.")
    else:
        rows = [
            (dotted(key), _value(value), "-" if usual is None else _value(usual))
            for key, (value, usual) in changed.items()
        ]
        shown = table(
            f"Differences to the defaults of {name}", ("key", "this run", "default"), rows, numbers=False
        )
    return join((shown, details("All settings", element("pre", _whole(config)))))


def _whole(config: dict[str, Any]) -> str:
    try:
        return to_toml(validate(config))
    except UserError:  # of another version
        return "\n".join(f"{key} = {_value(value)}" for key, value in flatten(config).items())


def _value(value: Any) -> str:
    return json.dumps(value, default=str)


def environment(page: Report, run: Run) -> Html:
    """Versions, machine, commit, command."""
    if not run.environment:
        return note("Environment unknown: there is no environment.json.")
    rows = [(key, "unknown" if value is None else value) for key, value in run.environment.items()]
    return table("Where it was trained", ("what", "value"), rows, numbers=False)
