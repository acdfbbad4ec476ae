"""The whole page: its head, ablations, the comparison of runs, a part for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from dprd_cli.config.tree import flatten
from dprd_cli.report.comparison import comparison
from dprd_cli.report.headline import headline
from dprd_cli.report.html import Html, element, join, note, number, section, text
from dprd_cli.report.measure import RunMeasurement
from dprd_cli.report.page import ReportPage
from dprd_cli.report.runs import RunFiles
from dprd_cli.report.sections import run_sections
from dprd_cli.report.studies import StudyFiles, study_section
from dprd_cli.version import __version__

_HEADLINES = (
    ("bbox_AP", "box AP", 1),
    ("bbox_AP50", "box AP50", 1),
    ("segm_AP", "mask AP", 1),
    ("recall70", "proposal recall at 0.7", 3),
    ("part_iou", "part IoU", 3),
)


def render(
    runs: Sequence[RunFiles],
    studies: Sequence[StudyFiles],
    measured: Mapping[str, RunMeasurement],
    left_out: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        runs: At least one, or an ablation.
        studies: Ablations.
        measured: By run name.
        left_out: By run name: why it was not measured.
    """
    page = ReportPage(runs, measured, left_out)
    links: list[tuple[str, str]] = []
    parts: list[Html] = []
    for index, study in enumerate(studies, start=1):
        links.append((study.name, f"study{index}"))
        parts.append(study_section(study, f"study{index}"))
    if len(runs) > 1:
        links.append(("Comparison", "comparison"))
        parts.append(comparison(page))
    for run in runs:
        sections = run_sections(page, run)
        body = [_head(page, run), *(html for *_, html in sections)]
        parts.append(section(run.name, page.anchor(run), *body, level=2))
        if len(runs) == 1:
            links += [(title, anchor) for title, anchor, _ in sections]
        else:
            links.append((run.name, page.anchor(run)))
    title = _title(runs, studies)
    items = join(element("li", element("a", name, href=f"#{anchor}")) for name, anchor in links)
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    here = files("dprd_cli.report")
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        generator=text(f"dprd {__version__}"),
        title=text(title),
        style=(here / "page.css").read_text(encoding="utf-8"),
        header=join((element("h1", title), element("p", _subtitle(page, studies), class_="lead"))),
        navigation=element("ul", items),
        content=join(parts),
        footer=text(f"Made by dprd {__version__} on {now}. Everything is in this one file."),
    )


def _title(runs: Sequence[RunFiles], studies: Sequence[StudyFiles]) -> str:
    if studies:
        return f"Ablation {', '.join(study.name for study in studies)}"
    return f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs compared"


def _subtitle(page: ReportPage, studies: Sequence[StudyFiles]) -> str:
    if len(page.runs) == 1 and not studies:
        return _about(page, page.runs[0])
    names = ", ".join(run.name for run in page.runs[:6])
    return f"{len(page.runs)} runs: {names}" + (", …" if len(page.runs) > 6 else "")


def _about(page: ReportPage, run: RunFiles) -> str:
    """Say what a run is: its preset, backbone, data and length."""
    flat = flatten(page.config(run))
    if not flat:
        return "Settings unknown"
    path = str(flat.get("data.path", "synthetic"))  # the default
    built_in = {"synthetic": "the built-in data", "signpost": "the built-in signposts"}
    data = built_in.get(path) or Path(path).name
    return (
        f"{flat.get('preset', '?')} on {flat.get('model.backbone.name', '?')}, trained on {data}, "
        f"{flat.get('train.steps', '?')} steps of {flat.get('train.batch_size', '?')} images"
    )


def _head(page: ReportPage, run: RunFiles) -> Html:
    """Return what a run is, its headline numbers, and what it lacks."""
    found = page.measured.get(run.name)
    facts: dict[str, Any] = {
        "folder": run.folder if run.folder else run.checkpoint,
        "last written": run.written or "unknown",
        "commit": run.environment.get("commit") or "unknown",
        "data": flatten(page.config(run)).get("data.path", "unknown"),
        "device": run.environment.get("device", "unknown"),
    }
    if found:
        facts["checkpoint"] = f"{found.checkpoint.name}, step {found.step}"
    listed = join(
        element("div", element("dt", key), element("dd", element("code", value)))
        for key, value in facts.items()
    )
    lines = [element("li", line) for line in run.lacking]
    lacking = element("ul", *lines, class_="lacking", aria_label="What this run lacks") if lines else Html("")
    about = element("p", _about(page, run), class_="lead") if len(page.runs) > 1 else Html("")
    return join((about, _tiles(page, run), element("dl", listed, class_="facts"), lacking))


def _tiles(page: ReportPage, run: RunFiles) -> Html:
    best = headline(run, page.measured.get(run.name))
    if not best.metrics:
        return Html("")
    tiles = [
        element("div", element("dt", title), element("dd", number(best.metrics[key], digits)))
        for key, title, digits in _HEADLINES
        if best.metrics.get(key) is not None
    ]
    return join((element("dl", *tiles, class_="tiles"), note(f"From {best.source}.")))
