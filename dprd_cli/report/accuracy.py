"""The sections on how well a run detects: APs, precision and recall, confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dprd_cli.evaluation.analysis import APS
from dprd_cli.evaluation.curve_figures import IOUS, KINDS, pr_figure, scores_figure
from dprd_cli.evaluation.figures import (
    class_figure,
    confusion_figure,
    mean_ap,
    row_shares,
    size_figure,
    tide_figure,
)
from dprd_cli.report.html import Html, dotted, element, figure, join, note, number, table
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import EvaluationFile, RunFiles

_PLURALS = {"bbox": "boxes", "segm": "masks"}
_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100")
_MATRIX_CLASSES = 20  # larger confusion matrices are drawn, not written
_CONFUSIONS = 12


def accuracy(page: ReportPage, run: RunFiles) -> Html:
    """Return AP of boxes and masks by every evaluation there is, by class, and by size."""
    totals = _totals(page, run)
    if totals is None:
        return join((page.measured_on(run), note("No AP: no evaluation was recorded.")))
    analysis = page.analysis(run)
    if analysis is None:
        return join((page.measured_on(run), totals, _recorded_classes(run.recorded[0])))
    charts = element("div", *_charts(page, analysis), class_="charts")
    tables = element("div", *(_class_table(analysis, kind) for kind in analysis["ap"]), class_="pair")
    return join((page.measured_on(run), totals, charts, tables, _tide(page, analysis)))


def _totals(page: ReportPage, run: RunFiles) -> Html | None:
    """Return a row of COCO's metrics for each evaluation, or None where there was none."""
    sources = [(f"{one.file}, {one.content.get('images', '?')} images", one.content) for one in run.recorded]
    if run.name in page.measured:
        own = page.measured[run.name]
        sources.insert(0, (f"this page, {own.images} images", own.results))
    rows = [
        (dotted(f"{title}: {source}"), *(number(content[kind].get(name)) for name in _METRICS))
        for source, content in sources
        for kind, title in KINDS.items()
        if isinstance(content.get(kind), dict)
    ]
    return table("COCO metrics in percent", ("", *_METRICS), rows) if rows else None


def _recorded_classes(evaluation: EvaluationFile) -> Html:
    """Return AP by class as a file has it."""
    columns = {"bbox_ap": "box AP", "bbox_ap50": "box AP50", "segm_ap": "mask AP", "segm_ap50": "mask AP50"}
    classes = evaluation.content.get("classes") or []
    cells = [(row["name"], row["objects"], *(number(row.get(key)) for key in columns)) for row in classes]
    return table(f"By class ({evaluation.file})", ("class", "objects", *columns.values()), cells)


def _class_table(analysis: Mapping[str, Any], kind: str) -> Html:
    """Return AP by class and size of boxes or masks."""
    aps = analysis["ap"][kind]
    cells = [
        (name, objects, *(number(row[key]) for key in APS))
        for name, objects, row in zip(analysis["class_names"], analysis["objects"], aps, strict=True)
    ]
    cells.append(("all", sum(analysis["objects"]), *(number(mean_ap(aps, key)) for key in APS)))
    return table(f"{KINDS[kind]} AP by class and size", ("class", "objects", *APS), cells, class_="total")


def _charts(page: ReportPage, analysis: Mapping[str, Any]) -> tuple[Html, Html]:
    """Return the figures of AP by class and by size."""
    rows = zip(analysis["class_names"], analysis["ap"]["bbox"], strict=True)
    told = ", ".join(f"{name} {number(row['AP'])}" for name, row in rows)
    by_class = page.svg(class_figure(analysis), f"Bars of box AP by class: {told}")
    by_size = page.svg(size_figure(analysis), "Bars of AP by object size; the table has the numbers")
    return (
        figure(by_class, "AP by class (objects)"),
        figure(by_size, "AP by size: small below 32², large from 96² pixels"),
    )


def _tide(page: ReportPage, analysis: Mapping[str, Any]) -> Html:
    tide = analysis.get("tide") or {}
    if "errors" not in tide:
        return note(f"Error types (TIDE): {tide.get('skipped', 'not measured')}.")
    told = ", ".join(f"{name} {row['delta_ap']:.1f}" for name, row in tide["errors"].items())
    caption = f"Error types (TIDE): box AP50 that would be gained without each, of {tide['ap50']:.1f} now"
    drawn = page.svg(tide_figure(tide), f"Bars of AP50 lost to each error type: {told}")
    return element("div", figure(drawn, caption), class_="charts")


def precision_recall(page: ReportPage, run: RunFiles) -> Html:
    """Return PR curves at three IoUs, for boxes and masks."""
    analysis = page.analysis(run)
    if analysis is None:
        return page.measured_on(run)
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
    if "scores" in analysis:  # analyses of older versions do not say
        best = analysis["thresholds"]["overall"]
        told = "nothing is right" if best is None else f"best F1 {best['f1']:.2f} from {best['score']:.2g}"
        curves = page.svg(scores_figure(analysis), f"Precision, recall and F1 over the score: {told}")
        rows.append(element("h4", "Boxes over the score"))
        rows.append(figure(curves, class_="wide"))
    if "segm" not in analysis["curves"]:
        rows.append(note("No masks: the detector or the data has none."))
    return join((page.measured_on(run), *rows))


def confusion(page: ReportPage, run: RunFiles) -> Html:
    """Return the confusion matrix with background, as a table where it is small."""
    analysis = page.analysis(run)
    if analysis is None:
        return page.measured_on(run)
    matrix, names = np.asarray(analysis["confusion"]), [*analysis["class_names"], "background"]
    rule = (
        f"Boxes of score {analysis['score_thresh']:g} or more, matched at IoU {analysis['iou_thresh']:g}: "
        "with objects of their class first, then with any. Rows are what is annotated, columns what was "
        "detected; the last column counts objects that were missed, the last row detections of nothing. "
        "Shades and percentages are shares of the row, the annotated objects of a class."
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
    return join((page.measured_on(run), shown, note(rule)))


def _shaded(value: int, share: float) -> Html:
    shown = (value, element("small", f"{100 * share:.0f} %")) if value else ("·",)
    return element("span", *shown, style=f"--share:{share:.3f}", class_="cell")


def _most_confused(matrix: np.ndarray, names: Sequence[str]) -> Html:
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    off = off[:-1, :-1]
    order = np.argsort(off, axis=None)[::-1][:_CONFUSIONS]
    pairs = [np.unravel_index(index, off.shape) for index in order if off.flat[index]]
    rows = [(names[row], names[column], off[row, column]) for row, column in pairs]
    return table("Most frequent confusions", ("annotated as", "detected as", "objects"), rows)
