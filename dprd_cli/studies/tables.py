"""A study as a table of text, the same for the terminal, Markdown and LaTeX; and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dprd_cli.studies.study import COLUMNS, COSTS
from dprd_cli.studies.summary import OTHER_OFFSETS, Comparison, Spread, StudySummary

_EMPTY = "-"


@dataclass(frozen=True, slots=True)
class TextTable:
    """Cells of text.

    Attributes:
        headings: Heading of each column; the first column is text, the others numbers.
        rows: One cell a column.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


#: What the verdicts of `differences_table` mean.
LEGEND = (
    "Differences are means over the seeds that both have, ± the deviation of the differences seed by seed. "
    "above, below: by more than that deviation, and (of different trainings) than the deviation of either "
    "over its seeds; unclear: not so; one seed: no deviation is known."
)


def costs_caption(summary: StudySummary) -> str:
    """Return what a table of costs is."""
    source = summary.study.source
    paper = f"; the paper's ({source}) are of R50-FPN on COCO, on the authors' machine" if source else ""
    return f"{summary.study.title}: inference of one image{paper}"


def caption(summary: StudySummary) -> str:
    """Return what the table is."""
    study = summary.study
    if study.published:
        return f"{study.title} ({study.source}); the rows below those measured here are the paper's"
    paper = f"; the paper's numbers ({study.source}) are of R50-FPN on COCO" if study.source else ""
    return f"{study.title}; mean ± sample standard deviation over seeds{paper}"


def results_table(summary: StudySummary) -> TextTable:
    """Return a row for each variant: its metrics over seeds, with the paper's beside."""
    study = summary.study
    if study.published:
        return _published_table(summary)
    costs = [name for name in study.columns if any(name in found for found in summary.costs.values())]
    columns = [*summary.metrics, *costs]
    in_paper = {name for variant in study.variants for name in variant.paper}
    headings = ["", *(["seeds"] if summary.metrics else [])]
    for name in columns:
        headings += [COLUMNS.get(name, name), *(["paper"] if name in in_paper else [])]
    rows = []
    for number, variant in enumerate(study.variants, start=1):
        seeds = {run.seed for run in summary.runs if run.variant == variant.key}
        row = [f"{number} {variant.label}", *([str(len(seeds))] if summary.metrics else [])]
        for name in columns:
            if name in COSTS:
                row.append(cost(name, summary.costs.get(variant.key, {}).get(name)))
            else:
                row.append(show(summary.spread(variant.key, name)))
            if name in in_paper:
                row.append(_paper(summary, variant.paper.get(name), name))
        rows.append(tuple(row))
    return TextTable(tuple(headings), tuple(rows))


def _published_table(summary: StudySummary) -> TextTable:
    """Return a row for each checkpoint, then the paper's rows."""
    study = summary.study
    headings = ("", "backbone", *(COLUMNS.get(name, name) for name in study.columns))
    rows = [
        (
            f"{variant.label} (measured here)",
            str(variant.overrides.get("model.backbone.name", _EMPTY)).upper(),
            *(
                _EMPTY if found is None else f"{found.mean:.1f}"
                for found in (summary.spread(variant.key, name) for name in study.columns)
            ),
        )
        for variant in study.variants
    ]
    for row in study.published:
        numbers = (f"{row.paper[name]:.1f}" if name in row.paper else _EMPTY for name in study.columns)
        rows.append((row.label, row.backbone, *numbers))
    return TextTable(headings, tuple(rows))


def differences_table(summary: StudySummary) -> TextTable | None:
    """Return each variant's difference to its base (and the study's other pairs), or None without any."""
    numbers = {variant.key: str(index) for index, variant in enumerate(summary.study.variants, start=1)}
    by_pair: dict[tuple[str, str], dict[str, Comparison]] = {}
    for found in summary.comparisons():
        by_pair.setdefault((found.variant, found.other), {})[found.metric] = found
    if not by_pair:
        return None
    has_paper = any(found.paper is not None for pair in by_pair.values() for found in pair.values())
    headings = ["rows"]
    for metric in summary.metrics:
        headings += [COLUMNS.get(metric, metric), "", *(["paper"] if has_paper else [])]
    rows = []
    for (one, other), by_metric in by_pair.items():
        row = [f"{numbers[one]} - {numbers[other]}"]
        for metric in summary.metrics:
            compared = by_metric.get(metric)
            row += [show(compared.difference if compared else None, signs=True), verdict(compared)]
            if has_paper:
                paper = compared.paper if compared else None
                row.append(_EMPTY if paper is None else signed(paper))
        rows.append(tuple(row))
    return TextTable(tuple(headings), tuple(rows))


def verdict(found: Comparison | None) -> str:
    """Return what a comparison says, in the words of `LEGEND`."""
    if found is None:
        return _EMPTY
    if found.clear is None:
        return "one seed"
    if not found.clear:
        return "unclear"
    return "above" if found.difference.mean > 0 else "below"


def offsets_table(summary: StudySummary) -> TextTable | None:
    """Return what learned part offsets are worth over their mean and over none, or None if unmeasured."""
    found = summary.offsets()
    if not found:
        return None
    numbers = {variant.key: str(index) for index, variant in enumerate(summary.study.variants, start=1)}
    by_row: dict[tuple[str, str], dict[str, Comparison]] = {}
    for one in found:
        by_row.setdefault((one.variant, one.metric), {})[one.other] = one
    rows = []
    for (key, metric), others in by_row.items():
        row = [f"{numbers[key]} {COLUMNS.get(metric, metric)}", show(summary.spread(key, metric))]
        for kind in OTHER_OFFSETS:
            compared = others.get(kind)
            row += [show(compared.difference if compared else None, signs=True), verdict(compared)]
        rows.append(tuple(row))
    headings = ("offsets at test", "learned", "over mean", "", "over none", "")
    return TextTable(headings, tuple(rows))


def show(found: Spread | None, *, signs: bool = False) -> str:
    """Return `mean ± deviation`."""
    if found is None:
        return _EMPTY
    mean = signed(found.mean) if signs else f"{found.mean:.2f}"
    return mean if found.sd is None else f"{mean} ± {found.sd:.2f}"


def signed(value: float) -> str:
    """Return a number with its sign."""
    return f"{value:+.2f}"


def cost(name: str, value: float | None) -> str:
    """Return a cost with the digits that its unit deserves."""
    if value is None:
        return _EMPTY
    if name == "memory" or value >= 100:
        return f"{value:.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def _paper(summary: StudySummary, value: float | None, name: str) -> str:
    """Return the paper's number, with as many decimals as the column has anywhere."""
    column = [f"{v.paper[name]:g}" for v in summary.study.variants if name in v.paper]
    digits = max((len(text.partition(".")[2]) for text in column), default=0)
    return _EMPTY if value is None else f"{value:.{digits}f}"


def markdown(table: TextTable) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(table.headings) + " |"]
    lines.append("|" + "|".join(["---", *["--:"] * (len(table.headings) - 1)]) + "|")
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "±": "$\\pm$",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "\\": "\\textbackslash{}",
    }
)


def latex(table: TextTable, caption: str) -> str:
    """Return a table in LaTeX, with the rules of booktabs."""

    def line(cells: Sequence[str]) -> str:
        return "  " + " & ".join(cell.translate(_LATEX) for cell in cells) + " \\\\"

    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{caption.translate(_LATEX)}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(table.headings) - 1)}}}",
            "  \\toprule",
            line(table.headings),
            "  \\midrule",
            *(line(row) for row in table.rows),
            "  \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
            "",
        ]
    )
