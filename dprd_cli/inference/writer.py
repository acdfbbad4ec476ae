"""Writes the outputs of a run of `dprd predict`, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from dprd_cli.errors import ResourceError
from dprd_cli.files.results import image_ids, image_names
from dprd_cli.inference.outputs import KINDS, Drawings, Entry, Merged, Output, Style, Videos, make_outputs
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.sources import Source


@dataclass(frozen=True, slots=True)
class Made:
    """What is left to do for one image or frame: the files that hold many. Can be sent to another process.

    Args:
        line: What was found, in words.
        contents: What goes into the files that hold many images, by kind.
        counts: Files that were written, by kind.
        row: For `--json`, where rows are kept.
        video: That it is in.
    """

    line: str
    contents: dict[str, Any]
    counts: dict[str, int]
    row: dict[str, Any] | None
    video: Path | None


class Writer:
    """Names what the sources give, and passes it to every kind of output; leaving it finishes them.

    Args:
        sources: What is looked at.
        folder: Where outputs go.
        kinds: Kinds of outputs.
        style: What is shown.
        keep: Keep rows for `--json`.
        main: Whether this process writes the files that hold many images; the others `make` only.

    Attributes:
        done: Images and frames written.
        rows: What is on each: `file`, `drawing`, `objects`, and of frames `frame` and `seconds`.
        summary: What was written, in words; complete after leaving.
        files: The results files, tables and videos.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        folder: Path,
        kinds: Sequence[str],
        style: Style,
        *,
        keep: bool,
        main: bool = True,
    ) -> None:
        self.sources, self.folder, self.style, self.keep = sources, folder, style, keep
        self._paths = [source.path for source in sources]
        self._stems = [Path(name).stem for name in image_names(self._paths)]
        moving = any(source.is_moving for source in sources)
        self._ids = None if moving else image_ids(self._paths)
        self._counter = count(1)
        self._outputs, self._merged = make_outputs(folder, kinds, style, frames=moving)
        self._main = main
        for output in self._merged.values() if main else ():
            output.open()
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
        outputs: dict[str, Output | Merged] = {**self._outputs, **(self._merged if self._main else {})}
        for output in (outputs[name] for name in KINDS if name in outputs):
            try:
                self.summary += output.close()
            except ResourceError as problem:
                failed = failed or problem
        if failed and error is None:
            raise failed

    @property
    def files(self) -> list[str]:
        """The files that hold many images."""
        whole = [name for name in self.summary if name.endswith((".json", ".csv"))]
        return [*(str(self.folder / name) for name in whole), *map(str, self._videos)]

    def add(self, number: int, prediction: Prediction) -> Made:
        """Write one image or frame of a source; see `make`."""
        made = self.make(number, prediction)
        self.write(made)
        return made

    def make(self, number: int, prediction: Prediction) -> Made:
        """Write the files of one image or frame of a source alone.

        Args:
            number: Number of the source.
            prediction: All that was found.

        Raises:
            ResourceError: If something cannot be written; what was written before is whole.
        """
        entry = Entry(
            prediction,
            self._ids[number] if self._ids else next(self._counter),
            self._paths[number],
            self.sources[number].kind == "image",
            self._stems[number],
            self.style,
        )
        counts = {}
        for kind, output in self._outputs.items():
            before = output.count
            output.add(entry)
            counts[kind], output.count = output.count - before, before  # `write` counts, perhaps elsewhere
        contents = {kind: output.content(entry) for kind, output in self._merged.items()}
        drawn, video = self._drawn(entry)
        row = self._row(entry, drawn) if self.keep else None
        return Made(f"{prediction.name}: {entry.shown.summary()}", contents, counts, row, video)

    def write(self, made: Made) -> None:
        """Write one image or frame to the files that hold many, in the order that they are to have.

        Raises:
            ResourceError: If something cannot be written; what was written before is whole.
        """
        for kind, content in made.contents.items():
            self._merged[kind].write(content)
        for kind, count_made in made.counts.items():
            self._outputs[kind].count += count_made
        self.done += 1
        if made.row is not None:
            self.rows.append(made.row)
        if made.video:
            self._videos[made.video] = None

    def _drawn(self, entry: Entry) -> tuple[Path | None, Path | None]:
        """Return where an entry can be looked at, and the video that it is in."""
        drawn = video = None
        for output in self._outputs.values():
            if isinstance(output, Drawings | Videos) and (path := output.path(entry)):
                drawn = path
                if isinstance(output, Videos):
                    video = path
        return drawn, video

    def _row(self, entry: Entry, drawn: Path | None) -> dict[str, Any]:
        shown = entry.shown
        rows = zip(shown.class_names, shown.scores.tolist(), shown.boxes.tolist(), strict=True)
        objects: list[dict[str, Any]] = [
            {"class": name, "score": score, "box": box} for name, score, box in rows
        ]
        if self.style.parts and shown.part_boxes is not None:
            for row, boxes in zip(objects, shown.part_boxes.tolist(), strict=True):
                row["part_boxes"] = boxes
        drawing = str(drawn) if drawn else None
        content: dict[str, Any] = {"file": shown.name, "drawing": drawing, "objects": objects}
        if shown.moment:
            content |= {"frame": shown.moment.index, "seconds": shown.moment.seconds}
        return content
