"""The sections on what a run's detections look like: images, parts, Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np

from dprd_cli.evaluation.deciding_figure import deciding_figure, tells_parts
from dprd_cli.evaluation.figures import parts_figure
from dprd_cli.evaluation.places_figure import places_figure, tells_places
from dprd_cli.report.html import Html, element, embed_image, embedded, figure, join, note, number, table, text
from dprd_cli.report.measure import GradCamMap, ImagePair
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import RunFiles
from dprd_cli.structures.part_names import WHOLE


def images(page: ReportPage, run: RunFiles) -> Html:
    """Return the worst and best images, annotated and detected."""
    rule = note(
        "By an image's F1 = 2 TP / (2 TP + FP + FN) of boxes of score 0.5 or more, averaged over IoU 0.5 to "
        "0.95. Left what is annotated, right what was detected, parts in orange."
    )
    if run.name not in page.measured:
        if not run.drawn:
            return page.measured_on(run)
        shown = [
            figure(embedded(run.drawn[name].read_bytes(), "image/jpeg", f"The {name} images"), name)
            for name in ("worst", "best")
            if name in run.drawn
        ]
        return join((page.measured_on(run), rule, *shown))
    found = page.measured[run.name]
    content: list[Html] = []
    for title, pairs in (("Worst", found.worst), ("Best", found.best)):
        content.append(element("h4", title))
        content.append(element("div", *map(_pair, pairs), class_="pairs") if pairs else note("None."))
    return join((page.measured_on(run), rule, *content))


def _pair(pair: ImagePair) -> Html:
    sides = element(
        "div",
        embed_image(pair.annotated, f"{pair.name} with its annotations"),
        embed_image(pair.detected, f"{pair.name} with its detections"),
        class_="sides",
    )
    return figure(sides, join((text(pair.name), element("b", f"F1 {pair.f1:.2f}"))))


def parts(page: ReportPage, run: RunFiles) -> Html:
    """Return how the parts deform, by class."""
    analysis = page.analysis(run)
    if analysis is None:
        return page.measured_on(run)
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
    deformation = element("div", shown, drawn, class_="pair parts")
    return join(
        (page.measured_on(run), deformation, note(legend), _deciding(page, found), *_places(page, found))
    )


def _deciding(page: ReportPage, found: dict[str, Any]) -> Html:
    """Return which part decided, by class, as far as that is known."""
    if not tells_parts(found):
        return note("Which part decided was not measured.")
    told = []
    for group in filter(lambda group: group["whole"]["fall"] is not None, [*found["classes"], found["all"]]):
        names = [*found["parts"], WHOLE]
        fall, most = max(
            zip([*(part["fall"] for part in group["per_part"]), group["whole"]["fall"]], names, strict=True)
        )
        told.append(f"{group['name']} {most} {fall:.2f}")
    alt = f"Which part decided, and the fall of the class score without it: {', '.join(told)}"
    drawn = figure(page.svg(deciding_figure(found), alt), "Which part decided", class_="wide")
    rule = (
        "Left: the share of the assembly's maxima that each part, or the whole, wins. Right: by how much the "
        "class score changes on average when it wins none; each class's largest fall is bold."
    )
    return join((drawn, note(rule)))


def _places(page: ReportPage, found: dict[str, Any]) -> tuple[Html, ...]:
    """Return at which places the parts are, of parts that choose among places; nothing of others."""
    if not tells_places(found):
        return ()
    total = found["places"]["all"]
    told = ", ".join(
        f"{part['part']} at its reference part {100 * part['shares'][0]:.0f} %" for part in total["per_part"]
    )
    alt = f"Where the parts are: {told}"
    drawn = figure(page.svg(places_figure(found), alt), "Where the parts are", class_="wide")
    rule = (
        "Share of the objects for which each part is at each place. All parts are at one place for "
        f"{100 * total['together']:.0f} %, at their reference parts for {100 * total['still']:.0f} %. "
        f"Entropy: of the places' probabilities, {found['places']['most_entropy']:.2f} where all are alike. "
        f"Steady: how often a part stays at its place when the box shifts by up to "
        f"{100 * found['places']['jitter']:.0f} % of its size."
    )
    return drawn, note(rule)


def gradcam(page: ReportPage, run: RunFiles) -> Html:
    """Return Grad-CAM of the surest object in each of a few images."""
    if run.name not in page.measured:
        return note(f"{page.left_out.get(run.name, '')} No Grad-CAM without the checkpoint.")
    maps = page.measured[run.name].maps
    if not maps:
        return note("No Grad-CAM: no object reached the score 0.5.")
    rule = note(
        "The surest object of each image above: HiResCAM of its class logit at the pyramid levels that its "
        "box and parts are pooled from, scaled by its own extremes; its box is white, its parts light blue."
    )
    return join((rule, element("div", *map(_map, maps), class_="maps")))


def _map(one: GradCamMap) -> Html:
    share = "no gradient" if one.share is None else f"{100 * one.share:.0f} % of the energy in its box"
    caption = join((element("b", f"{one.name} {one.score:.2f}"), text(f"{one.layer}, {share}")))
    return figure(embed_image(one.image, f"Grad-CAM of a {one.name}: {share}"), caption)
