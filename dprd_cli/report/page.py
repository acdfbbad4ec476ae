"""The whole page: its head, comparison of runs, ablations, a part for each run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import flatten
from dprd_cli.errors import UserError
from dprd_cli.evaluation.figures import KINDS
from dprd_cli.files.atomic import write_atomically
from dprd_cli.files.results import output_folder
from dprd_cli.report.curves import compared_panels, draw
from dprd_cli.report.html import (
    Html,
    details,
    dotted,
    element,
    embedded,
    figure,
    join,
    note,
    number,
    section,
    table,
    text,
)
from dprd_cli.report.measure import Measured, measure
from dprd_cli.report.runs import Run, Study, collect
from dprd_cli.report.sections import Report, run_sections
from dprd_cli.version import __version__

#: More runs than these are not measured unless asked for.
MEASURED_RUNS = 4
_IMAGES = 12  # best and worst images of a page together, for each of both
_SHOWN_PER_RUN = 4
_HEADLINES = (
    ("bbox_AP", "box AP", 1),
    ("bbox_AP50", "box AP50", 1),
    ("segm_AP", "mask AP", 1),
    ("recall70", "proposal recall at 0.7", 3),
    ("part_iou", "part IoU", 3),
)


@dataclass(frozen=True, slots=True)
class Written:
    """A page that was written, and its numbers.

    Args:
        path: The file.
        bytes: Its size.
        runs: Plain containers: names, settings, numbers, what is lacking.
        studies: Names of the ablations.
    """

    path: Path
    bytes: int
    runs: list[dict[str, Any]]
    studies: list[str]


def write_report(
    specs: list[str],
    out: Path | None = None,
    *,
    limit: int = 64,
    evaluate: bool | None = None,
    configure: Callable[[Config], Config] = lambda config: config,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write one HTML page about runs, which needs no other file and no network.

    Args:
        specs: Run folders, checkpoints, folders of ablations; see `collect`.
        out: The page; by default `report.html` in the run's folder, of several in the working folder.
        limit: Images that each checkpoint is measured on; 0 takes all.
        evaluate: Measure checkpoints; by default if the runs are few.
        configure: Changes a run's data section, where other data is asked for.
        device: `auto`, `cpu` or `cuda`.
        say: Called with lines about what is left out.
        progress: Called with (images done, images) for each run.

    Raises:
        UserError: If there is nothing of a run, or the page cannot be written.
    """
    runs, studies = collect(specs)
    if out is None:
        out = (runs[0].folder or Path()) / "report.html" if len(runs) == 1 else Path("report.html")
    if out.is_dir():
        out = out / "report.html"
    output_folder(out.parent, [])
    evaluate = len(runs) <= MEASURED_RUNS if evaluate is None else evaluate
    measured: dict[str, Measured] = {}
    left_out: dict[str, str] = {}
    keep = max(1, min(_SHOWN_PER_RUN, _IMAGES // max(len(runs), 1)))
    for run in runs:
        if not evaluate:
            left_out[run.name] = "Nothing was measured for this page (see --eval)."
        elif run.checkpoint is None:
            left_out[run.name] = "Nothing was measured for this page: there is no checkpoint."
        else:
            say(f"{run.name}: measuring {run.checkpoint.name}")
            try:
                measured[run.name] = measure(
                    run.checkpoint,
                    configure=configure,
                    limit=limit,
                    keep=keep,
                    device=device,
                    progress=progress,
                )
            except UserError as error:
                say(f"{run.name}: not measured: {error}")
                left_out[run.name] = f"Nothing was measured for this page: {error}."
    html = render(runs, studies, measured, left_out).encode()
    write_atomically(out, lambda file: file.write(html))
    rows = [_numbers(run, measured.get(run.name), left_out.get(run.name)) for run in runs]
    return Written(out, len(html), rows, [study.name for study in studies])


def render(
    runs: Sequence[Run],
    studies: Sequence[Study],
    measured: Mapping[str, Measured],
    left_out: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        runs: At least one, or an ablation.
        studies: Ablations.
        measured: By run name.
        left_out: By run name: why it was not measured.
    """
    page = Report(runs, measured, left_out)
    links: list[tuple[str, str]] = []
    parts: list[Html] = []
    for index, study in enumerate(studies, start=1):
        links.append((study.name, f"study{index}"))
        parts.append(_study(study, f"study{index}"))
    if len(runs) > 1:
        links.append(("Comparison", "comparison"))
        parts.append(_comparison(page))
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


def _title(runs: Sequence[Run], studies: Sequence[Study]) -> str:
    if studies:
        return f"Ablation {', '.join(study.name for study in studies)}"
    return f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs compared"


def _subtitle(page: Report, studies: Sequence[Study]) -> str:
    if len(page.runs) == 1 and not studies:
        return _about(page, page.runs[0])
    names = ", ".join(run.name for run in page.runs[:6])
    return f"{len(page.runs)} runs: {names}" + (", …" if len(page.runs) > 6 else "")


def _about(page: Report, run: Run) -> str:
    """Say what a run is: its preset, backbone, data and length."""
    flat = flatten(page.config(run))
    if not flat:
        return "Settings unknown"
    path = str(flat.get("data.path", "synthetic"))  # the default
    data = "the built-in data" if path == "synthetic" else Path(path).name
    return (
        f"{flat.get('preset', '?')} on {flat.get('model.backbone.name', '?')}, trained on {data}, "
        f"{flat.get('train.steps', '?')} steps of {flat.get('train.batch_size', '?')} images"
    )


def _head(page: Report, run: Run) -> Html:
    """What the run is, its headline numbers, and what it lacks."""
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


def _tiles(page: Report, run: Run) -> Html:
    metrics, source = headline(run, page.measured.get(run.name))
    if not metrics:
        return Html("")
    tiles = [
        element("div", element("dt", title), element("dd", number(metrics[key], digits)))
        for key, title, digits in _HEADLINES
        if metrics.get(key) is not None
    ]
    return join((element("dl", *tiles, class_="tiles"), note(f"From {source}.")))


def headline(run: Run, measured: Measured | None) -> tuple[dict[str, Any], str]:
    """Return a run's metrics, flat, from the usual evaluation with the most images, and where it is from.

    Args:
        run: Its recorded evaluations and the rows of its training.
        measured: What was measured for the page.
    """
    sources: list[tuple[int, dict[str, Any], str]] = []
    for one in filter(lambda one: one.usual, run.recorded):
        content = one.content
        flat = {f"{kind}_{key}": value for kind in KINDS for key, value in (content.get(kind) or {}).items()}
        names = ("recall50", "recall70", "part_iou", "seconds_per_image")
        extra = {key: content.get(key) for key in names}
        images = _count(one.content.get("images"))
        sources.append((images, flat | extra, f"{one.file}, {images} images"))
    if measured is not None:
        flat = measured.metrics | {"seconds_per_image": measured.seconds_per_image}
        sources.append((measured.images, flat, f"this page, {measured.images} images"))
    for row in run.evaluations[-1:]:
        images = _count(row.get("images"))
        sources.append((images, row, f"training's last evaluation, step {row['step']}, {images} images"))
    if not sources:
        return {}, ""
    _, metrics, source = max(sources, key=lambda item: item[0])
    return metrics, source


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _comparison(page: Report) -> Html:
    """Numbers side by side, the settings that differ, and curves in one figure."""
    columns = (
        *(("bbox_AP", "box AP", 1), ("bbox_AP50", "AP50", 1), ("bbox_AP75", "AP75", 1)),
        *(("bbox_APS", "APS", 1), ("bbox_APM", "APM", 1), ("bbox_APL", "APL", 1)),
        *(("segm_AP", "mask AP", 1), ("recall70", "recall70", 3), ("part_iou", "part IoU", 3)),
        ("seconds_per_image", "s/image", 3),
    )
    rows = []
    for run in page.runs:
        metrics, source = headline(run, page.measured.get(run.name))
        link = element("a", run.name, href=f"#{page.anchor(run)}")
        rows.append((link, *(number(metrics.get(key), digits) for key, _, digits in columns), source or "-"))
    head = ("run", *(title for _, title, _ in columns), "measured by")
    numbers = table("Runs side by side, AP in percent", head, rows)
    told = note("Compare only numbers of the same images; the last column says what each rests on.")
    panels = compared_panels([(run.name, run.metrics) for run in page.runs])
    drawn = [figure(page.svg(draw(panel), panel.alt()), panel.title) for panel in panels]
    curves = element("div", *drawn, class_="charts three") if drawn else note("No run has training curves.")
    without = [run.name for run in page.runs if not run.metrics]
    lacking = note(f"Without training curves: {', '.join(without)}.") if without and drawn else Html("")
    return section("Comparison", "comparison", numbers, told, _differing(page), curves, lacking, level=2)


def _differing(page: Report) -> Html:
    """The settings in which the runs differ."""
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


def _study(study: Study, anchor: str) -> Html:
    """The table and plot of an ablation, as its own command wrote them."""
    content: list[Html] = []
    if study.about:
        rows = join(
            element("div", element("dt", key), element("dd", value)) for key, value in study.about.items()
        )
        content.append(element("dl", rows, class_="facts"))
    tables = [block for block in study.content if not isinstance(block, str)]
    for block in study.content:
        if isinstance(block, str):
            content.append(note(block))
        elif block:
            head, *body = block
            padded = [[*row, *[""] * (len(head) - len(row))][: len(head)] for row in body]
            number = f", table {tables.index(block) + 1}" if len(tables) > 1 else ""
            content.append(table(f"{study.name}{number}", head, padded))
    if study.plot is not None:
        data = study.plot.read_bytes()
        content.append(figure(embedded(data, "image/png", f"The plot of {study.name}"), class_="plot"))
    if study.lacking:
        lines = [element("li", line) for line in study.lacking]
        content.append(element("ul", *lines, class_="lacking"))
    return section(f"Ablation {study.name}", anchor, *content, level=2)


def _numbers(run: Run, measured: Measured | None, left_out: str | None) -> dict[str, Any]:
    """Return a run's numbers for `--json`."""
    flat = flatten(run.config or (measured.config if measured else {}))
    metrics, source = headline(run, measured)
    return {
        "name": run.name,
        "folder": str(run.folder) if run.folder else None,
        "checkpoint": str(run.checkpoint) if run.checkpoint else None,
        "preset": flat.get("preset"),
        "backbone": flat.get("model.backbone.name"),
        "data": flat.get("data.path"),
        "commit": run.environment.get("commit"),
        "headline": {key: value for key, value in metrics.items() if not key.startswith("loss")},
        "headline_from": source or None,
        "recorded": {one.file: one.content for one in run.recorded},
        "measured": measured
        and {
            "images": measured.images,
            "total": measured.total,
            "step": measured.step,
            "metrics": measured.metrics,
            "ap": measured.analysis["ap"],
            "confusion": measured.analysis["confusion"],
            "parts": measured.analysis["parts"],
            "tide": measured.analysis["tide"],
        },
        "not_measured": left_out,
        "lacking": run.lacking,
    }
