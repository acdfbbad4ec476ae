"""Writes the outputs of a run of `dprd predict`, picture by picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from dprd_cli.errors import ResourceError
from dprd_cli.outputs import Drawings, Entry, Style, Videos, make_outputs
from dprd_cli.prediction import Prediction
from dprd_cli.results import image_ids, picture_names
from dprd_cli.sources import Source


class Writer:
    """Names what the sources give, and passes it to every kind of output; leaving it finishes them.

    Args:
        sources: What is looked at.
        folder: Where outputs go.
        kinds: Of outputs.
        style: What is shown.
        keep: Keep rows for `--json`.

    Attributes:
        done: Pictures and frames written.
        rows: What is on each: `file`, `picture`, `objects`, and of frames `frame` and `seconds`.
        summary: What was written, in words; complete after leaving.
        files: The results files, tables and videos.
    """

    def __init__(
        self, sources: Sequence[Source], folder: Path, kinds: Sequence[str], style: Style, *, keep: bool
    ) -> None:
        self.sources, self.folder, self.style, self.keep = sources, folder, style, keep
        self._paths = [source.path for source in sources]
        self._stems = [Path(name).stem for name in picture_names(self._paths)]
        moving = any(source.is_moving for source in sources)
        self._ids = None if moving else image_ids(self._paths)
        self._counter = count(1)
        self._outputs = make_outputs(folder, kinds, style, frames=moving)
        self.done = 0
        self.rows: list[dict[str, Any]] = []
        self.summary: list[str] = []
        self._videos: dict[Path, None] = {}

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed: ResourceError | None = None
        for output in self._outputs.values():
            try:
                self.summary += output.close()
            except ResourceError as problem:
                failed = failed or problem
        if failed and error is None:
            raise failed

    @property
    def files(self) -> list[str]:
        """The files that hold many pictures."""
        whole = [name for name in self.summary if name.endswith((".json", ".csv"))]
        return [*(str(self.folder / name) for name in whole), *map(str, self._videos)]

    def add(self, number: int, prediction: Prediction) -> Entry:
        """Write one picture or frame of a source.

        Args:
            number: Of the source.
            prediction: All that was found.

        Raises:
            ResourceError: If something cannot be written; what was written before is whole.
        """
        entry = Entry(
            prediction,
            self._ids[number] if self._ids else next(self._counter),
            self._paths[number],
            self.sources[number].kind == "picture",
            self._stems[number],
            self.style,
        )
        for output in self._outputs.values():
            output.add(entry)
        self.done += 1
        drawn = self._drawn(entry)
        if self.keep:
            self.rows.append(self._row(entry, drawn))
        return entry

    def _drawn(self, entry: Entry) -> Path | None:
        """Return where an entry can be looked at."""
        drawn = None
        for output in self._outputs.values():
            if isinstance(output, Drawings | Videos) and (path := output.path(entry)):
                drawn = path
                if isinstance(output, Videos):
                    self._videos[path] = None
        return drawn

    def _row(self, entry: Entry, drawn: Path | None) -> dict[str, Any]:
        shown = entry.shown
        rows = zip(shown.class_names, shown.scores.tolist(), shown.boxes.tolist(), strict=True)
        objects: list[dict[str, Any]] = [
            {"class": name, "score": score, "box": box} for name, score, box in rows
        ]
        if self.style.parts and shown.part_boxes is not None:
            for row, boxes in zip(objects, shown.part_boxes.tolist(), strict=True):
                row["part_boxes"] = boxes
        picture = str(drawn) if drawn else None
        content: dict[str, Any] = {"file": shown.name, "picture": picture, "objects": objects}
        if shown.moment:
            content |= {"frame": shown.moment.index, "seconds": shown.moment.seconds}
        return content
