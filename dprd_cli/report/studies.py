"""What the files of an ablation say, and the section that shows it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.report.html import Html, element, embedded, figure, join, note, section, table
from dprd_cli.report.runs import is_run, read_object

_FILES = ("study.json", "table.csv", "table.md", "plot.png")


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """What the files of an ablation say besides its runs.

    Attributes:
        name: Name of its folder.
        about: `study.json`'s texts and numbers.
        content: Paragraphs and tables of `table.md` in their order; else the table of `table.csv`. A table
            is its rows, the titles first.
        plot: `plot.png`, or None.
        runs: Folders of its runs.
        lacking: Lines about what is not there.
    """

    name: str
    about: dict[str, Any]
    content: tuple[str | list[list[str]], ...]
    plot: Path | None
    runs: tuple[Path, ...]
    lacking: tuple[str, ...]


def is_study(folder: Path) -> bool:
    """Whether a folder holds anything of an ablation."""
    return any((folder / name).is_file() for name in _FILES) or any(map(is_run, folders_in(folder)))


def folders_in(path: Path) -> list[Path]:
    """Return the folders in a folder, by name."""
    return sorted(inner for inner in path.iterdir() if inner.is_dir())


def read_study(folder: Path) -> StudyFiles:
    """Read the files of an ablation, whatever of them is there."""
    lacking: list[str] = []
    about = read_object(folder / "study.json", lacking, "the ablation does not say what it is")
    content: tuple[str | list[list[str]], ...] = ()
    if (folder / "table.md").is_file():
        content = _blocks((folder / "table.md").read_text(encoding="utf-8", errors="replace"))
    elif (folder / "table.csv").is_file():
        with (folder / "table.csv").open(encoding="utf-8", errors="replace", newline="") as file:
            content = ([row for row in csv.reader(file) if row],)
    else:
        lacking.append("no table.md and no table.csv: no table")
    plot = folder / "plot.png"
    if not plot.is_file():
        lacking.append("no plot.png: no plot")
    runs = tuple(inner for inner in folders_in(folder) if is_run(inner))
    shown = {key: value for key, value in about.items() if isinstance(value, str | int | float)}
    name = folder.resolve().name
    return StudyFiles(name, shown, content, plot if plot.is_file() else None, runs, tuple(lacking))


def _blocks(text: str) -> tuple[str | list[list[str]], ...]:
    """Return the paragraphs and tables of `table.md`, without its headings."""
    blocks: list[str | list[list[str]]] = []
    for block in text.split("\n\n"):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if not lines or lines[0].startswith("#"):
            continue
        if lines[0].startswith("|"):
            rows = [lines[0], *lines[2:]]  # the second line only aligns
            blocks.append([[cell.strip() for cell in row[1:].removesuffix("|").split("|")] for row in rows])
        else:
            blocks.append(" ".join(lines))
    return tuple(blocks)


def study_section(study: StudyFiles, anchor: str) -> Html:
    """Return the table and plot of an ablation, as its own command wrote them."""
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
