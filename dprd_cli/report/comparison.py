"""The section that sets several runs side by side: numbers, settings that differ, curves."""

from __future__ import annotations

import json

from dprd_cli.config.tree import flatten
from dprd_cli.report.curves import compared_panels, draw
from dprd_cli.report.headline import headline
from dprd_cli.report.html import Html, details, dotted, element, figure, note, number, section, table
from dprd_cli.report.page import ReportPage


def comparison(page: ReportPage) -> Html:
    """Return the numbers side by side, the settings that differ, and curves in one figure."""
    columns = (
        *(("bbox_AP", "box AP", 1), ("bbox_AP50", "AP50", 1), ("bbox_AP75", "AP75", 1)),
        *(("bbox_APS", "APS", 1), ("bbox_APM", "APM", 1), ("bbox_APL", "APL", 1)),
        *(("segm_AP", "mask AP", 1), ("recall70", "recall70", 3), ("part_iou", "part IoU", 3)),
        ("seconds_per_image", "s/image", 3),
    )
    rows = []
    for run in page.runs:
        best = headline(run, page.measured.get(run.name))
        link = element("a", run.name, href=f"#{page.anchor(run)}")
        cells = (number(best.metrics.get(key), digits) for key, _, digits in columns)
        rows.append((link, *cells, best.source or "-"))
    head = ("run", *(title for _, title, _ in columns), "measured by")
    numbers = table("Runs side by side, AP in percent", head, rows)
    told = note("Compare only numbers of the same images; the last column says what each rests on.")
    panels = compared_panels([(run.name, run.metrics) for run in page.runs])
    drawn = [figure(page.svg(draw(panel), panel.alt()), panel.title) for panel in panels]
    curves = element("div", *drawn, class_="charts three") if drawn else note("No run has training curves.")
    without = [run.name for run in page.runs if not run.metrics]
    lacking = note(f"Without training curves: {', '.join(without)}.") if without and drawn else Html("")
    return section("Comparison", "comparison", numbers, told, _differing(page), curves, lacking, level=2)


def _differing(page: ReportPage) -> Html:
    """Return the settings in which the runs differ."""
    flats = [flatten(page.config(run)) for run in page.runs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    rows = []
    for key in keys:
        values = [json.dumps(flat[key], default=str) if key in flat else "-" for flat in flats]
        if len(set(values)) > 1:
            rows.append((dotted(key), *values))
    if not rows:
        return note("The runs do not differ in any setting.")
    caption = f"Settings that differ ({len(rows)})"
    shown = table(caption, ("key", *(run.name for run in page.runs)), rows, numbers=False)
    return shown if len(rows) <= 8 else details(caption, shown)
