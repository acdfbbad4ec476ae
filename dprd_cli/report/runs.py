"""What the files of runs and ablations say; what is not there, or cannot be read, becomes a line."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dprd_cli.config.presets import resolve
from dprd_cli.config.tree import differences, flatten, read_toml
from dprd_cli.errors import UserError
from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.find import find_checkpoint

_RUN_FILES = ("config.toml", "metrics.jsonl", "best.pt", "last.pt", "previous.pt")
_STUDY_FILES = ("study.json", "table.csv", "table.md", "plot.png")
_CHECKPOINTS = ("best", "last", "previous")


@dataclass(frozen=True, slots=True)
class Recorded:
    """An evaluation that was written down: the file's name, and its content."""

    file: str
    content: dict[str, Any]

    @property
    def usual(self) -> bool:
        """Whether it measured the detector as trained, on held-out images: no other offsets, no TTA."""
        offsets, split = self.content.get("part_offsets", "learned"), self.content.get("split", "val")
        return offsets == "learned" and split != "train" and not self.content.get("tta")


@dataclass
class Run:
    """What the files of a run say.

    Args:
        name: What to call it, different from the other runs' of the page.
        folder: Where it lies; None for a checkpoint on its own.
        checkpoint: Its best weights, or None.
        config: The tree of `config.toml`; empty where there is none.
        metrics: Rows of `metrics.jsonl`.
        environment: Content of `environment.json`.
        recorded: Evaluations of whole splits, the newest first.
        analysis: The newest `analysis.json` of `dprd eval`, or None.
        drawn: Its best and worst images, by `best` and `worst`.
        lacking: Lines about what is not there.
    """

    name: str
    folder: Path | None
    checkpoint: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    recorded: list[Recorded] = field(default_factory=list)
    analysis: Recorded | None = None
    drawn: dict[str, Path] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)

    @property
    def written(self) -> str:
        """When the newest metrics (or the checkpoint) were written, or an empty string."""
        files = [self.folder / "metrics.jsonl"] if self.folder else []
        files += [self.checkpoint] if self.checkpoint else []
        times = [path.stat().st_mtime for path in files if path.is_file()]
        return datetime.fromtimestamp(times[0]).strftime("%Y-%m-%d %H:%M") if times else ""

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The rows of evaluations during training."""
        return [row for row in self.metrics if row.get("kind") == "eval"]


@dataclass(frozen=True, slots=True)
class Study:
    """What the files of an ablation say besides its runs.

    Args:
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


def collect(specs: list[str]) -> tuple[list[Run], list[Study]]:
    """Read runs and ablations.

    Args:
        specs: Run folders, checkpoints, `demo`, folders of an ablation or of several; the newest run if
            there is none.

    Raises:
        UserError: If one is not there, or holds nothing of a run.
    """
    runs: dict[Path, Run] = {}
    studies: list[Study] = []
    for spec in specs or [str(find_checkpoint().parent)]:
        for place in _expand(spec, studies):
            if place.resolve() not in runs:
                runs[place.resolve()] = read_run(place)
    found = list(runs.values())
    _name_apart(found)
    return found, studies


def _expand(spec: str, studies: list[Study]) -> list[Path]:
    """Return the run folders or checkpoints that `spec` stands for; ablations are added to `studies`."""
    path = Path(spec)
    if path.is_dir():
        if _is_run(path):
            return [path]
        folders = [path] if _is_study(path) else [inner for inner in _folders(path) if _is_study(inner)]
        if not folders:
            raise UserError(f"{path}/: holds no run and no ablation; pass a folder that `dprd train` made")
        read = [read_study(folder) for folder in folders]
        studies += read
        return [run for study in read for run in study.runs]
    return [find_checkpoint(spec)]


def _folders(path: Path) -> list[Path]:
    return sorted(inner for inner in path.iterdir() if inner.is_dir())


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _RUN_FILES)


def _is_study(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _STUDY_FILES) or any(map(_is_run, _folders(folder)))


def _name_apart(runs: list[Run]) -> None:
    """Put the folder above before names that are alike."""
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1 and run.folder is not None:
            run.name = f"{run.folder.resolve().parent.name}/{run.name}"


def read_run(place: Path) -> Run:
    """Read a run folder, or a checkpoint on its own."""
    if place.is_file() and place.stem in _CHECKPOINTS and (place.parent / "config.toml").is_file():
        run = read_run(place.parent)
        run.checkpoint = place
        return run
    if not place.is_dir():
        lines = ["a checkpoint on its own: no training curves, no environment, no recorded evaluation"]
        return Run(place.stem, None, place, lacking=lines)
    run = Run(place.resolve().name, place)
    run.checkpoint = next((p for name in _CHECKPOINTS if (p := place / f"{name}.pt").is_file()), None)
    if run.checkpoint is None:
        run.lacking.append("no checkpoint (best.pt or last.pt): nothing can be measured anew")
    if (place / "config.toml").is_file():
        try:
            run.config = read_toml(place / "config.toml")
        except UserError as error:
            run.lacking.append(str(error))
    else:
        run.lacking.append("no config.toml: settings unknown")
    run.metrics = read_metrics(place / "metrics.jsonl")
    if not run.metrics:
        run.lacking.append("no rows in metrics.jsonl: no training curves")
    run.environment = _read_dict(place / "environment.json", run.lacking, "environment unknown")
    _read_evaluations(run, place)
    return run


def _read_evaluations(run: Run, place: Path) -> None:
    files = [path for path in (*place.glob("eval_*.json"), place / "results.json") if path.is_file()]
    for path in sorted(files, key=lambda path: -path.stat().st_mtime):
        content = _read_dict(path, run.lacking)
        if isinstance(content.get("bbox"), dict):
            run.recorded.append(Recorded(path.name, content))
    if not run.recorded:
        run.lacking.append("no results.json or eval_*.json: no recorded evaluation of a whole split")
    for path in sorted(place.glob("*/analysis.json"), key=lambda path: -path.stat().st_mtime):
        content = _read_dict(path, run.lacking)
        if content and run.analysis is None:
            run.analysis = Recorded(f"{path.parent.name}/{path.name}", content)
            drawn = {name: path.with_name(f"{name}.jpg") for name in ("best", "worst")}
            run.drawn = {name: file for name, file in drawn.items() if file.is_file()}


def _read_dict(path: Path, lacking: list[str], meaning: str = "") -> dict[str, Any]:
    """Return a JSON object; an empty one, and a line, where there is none."""
    if not path.is_file():
        lacking.append(f"no {path.name}: {meaning}")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        lacking.append(f"{path.name}: not readable ({error})")
        return {}
    if not isinstance(content, dict):
        lacking.append(f"{path.name}: not a JSON object")
        return {}
    return content


def read_study(folder: Path) -> Study:
    """Read the files of an ablation, whatever of them is there."""
    lacking: list[str] = []
    about = _read_dict(folder / "study.json", lacking, "the ablation does not say what it is")
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
    runs = tuple(inner for inner in _folders(folder) if _is_run(inner))
    shown = {key: value for key, value in about.items() if isinstance(value, str | int | float)}
    name = folder.resolve().name
    return Study(name, shown, content, plot if plot.is_file() else None, runs, tuple(lacking))


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


def changed_settings(config: dict[str, Any]) -> dict[str, tuple[Any, Any]] | None:
    """Return the settings that differ from the defaults of the run's preset and schedule.

    Args:
        config: The tree of a `config.toml`.

    Returns:
        Dotted key -> (value, default); the default of a key that this version does not know is None. None
        where there is no such preset or schedule.
    """
    path = flatten(config).get("data.path")
    try:
        usual = resolve(
            preset=config.get("preset"), schedule=config.get("schedule"), flags={"data.path": path}
        )
    except UserError:
        return None
    return differences(config, usual)
