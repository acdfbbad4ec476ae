"""What the files of a run say; what is not there, or cannot be read, becomes a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dprd_cli.config.tree import read_toml
from dprd_cli.errors import UserError
from dprd_cli.training.metrics_log import read_metrics

_FILES = ("config.toml", "metrics.jsonl", "best.pt", "last.pt", "previous.pt")
_CHECKPOINTS = ("best", "last", "previous")


@dataclass(frozen=True, slots=True)
class EvaluationFile:
    """An evaluation that was written down: the file's name, and its content."""

    file: str
    content: dict[str, Any]

    @property
    def usual(self) -> bool:
        """Whether it measured the detector as trained, on held-out images: no other offsets, no TTA."""
        offsets, split = self.content.get("part_offsets", "learned"), self.content.get("split", "val")
        return offsets == "learned" and split != "train" and not self.content.get("tta")


@dataclass
class RunFiles:
    """What the files of a run say.

    Attributes:
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
    recorded: list[EvaluationFile] = field(default_factory=list)
    analysis: EvaluationFile | None = None
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


def is_run(folder: Path) -> bool:
    """Whether a folder holds anything of a run."""
    return any((folder / name).is_file() for name in _FILES)


def read_run(place: Path) -> RunFiles:
    """Read a run folder, or a checkpoint on its own."""
    if place.is_file() and place.stem in _CHECKPOINTS and (place.parent / "config.toml").is_file():
        run = read_run(place.parent)
        run.checkpoint = place
        return run
    if not place.is_dir():
        lines = ["a checkpoint on its own: no training curves, no environment, no recorded evaluation"]
        return RunFiles(place.stem, None, place, lacking=lines)
    run = RunFiles(place.resolve().name, place)
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
    run.environment = read_object(place / "environment.json", run.lacking, "environment unknown")
    _read_evaluations(run, place)
    return run


def _read_evaluations(run: RunFiles, place: Path) -> None:
    files = [path for path in (*place.glob("eval_*.json"), place / "results.json") if path.is_file()]
    for path in sorted(files, key=lambda path: -path.stat().st_mtime):
        content = read_object(path, run.lacking)
        if _is_evaluation(content):
            run.recorded.append(EvaluationFile(path.name, content))
    if not run.recorded:
        run.lacking.append("no results.json or eval_*.json: no recorded evaluation of a whole split")
    for path in sorted(place.glob("*/analysis.json"), key=lambda path: -path.stat().st_mtime):
        content = read_object(path, run.lacking)
        if content and run.analysis is None:
            run.analysis = EvaluationFile(f"{path.parent.name}/{path.name}", content)
            drawn = {name: path.with_name(f"{name}.jpg") for name in ("best", "worst")}
            run.drawn = {name: file for name, file in drawn.items() if file.is_file()}


def _is_evaluation(content: dict[str, Any]) -> bool:
    """Whether a file holds what `dprd eval` writes of a whole split: metrics by name, and rows of classes."""
    classes = content.get("classes") or []
    return (
        isinstance(content.get("bbox"), dict)
        and isinstance(content.get("segm") or {}, dict)
        and isinstance(classes, list)
        and all(isinstance(row, dict) for row in classes)
    )


def read_object(path: Path, lacking: list[str], meaning: str = "") -> dict[str, Any]:
    """Return a JSON object; an empty one, and a line, where there is none."""
    if not path.is_file():
        lacking.append(f"no {path.name}: {meaning}")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        lacking.append(f"{path.name}: not readable ({error})")
        return {}
    if not isinstance(content, dict):
        lacking.append(f"{path.name}: not a JSON object")
        return {}
    return content
