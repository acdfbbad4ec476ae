"""Writes the outputs of a run of `dprd predict`, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from dprd_cli.errors import ResourceError
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.files.results import image_ids, image_names
from dprd_cli.inference.drawings import DrawingFiles, VideoFiles
from dprd_cli.inference.entry import DisplayStyle, OutputEntry
from dprd_cli.inference.outputs import KINDS, PerImageOutput, SharedOutput, make_outputs
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.sources import Source
from dprd_cli.inference.video import Moment


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One detection that is shown.

    Args:
        class_name: Its class.
        score: Its class score.
        box: xyxy in pixels. [4]
        part_boxes: Its parts, xyxy, where they are shown. [P, 4]
        part_shares: Share of the assembly's maxima that each part wins, the whole last. [P+1]
        part_falls: By how much the score falls without each part, the whole last. [P+1]
    """

    class_name: str
    score: float
    box: list[float]
    part_boxes: list[list[float]] | None
    part_shares: list[float] | None = None
    part_falls: list[float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        names = ("part_boxes", "part_shares", "part_falls")
        parts = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {"class": self.class_name, "score": self.score, "box": self.box, **parts}


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """What is shown of one image or frame, and where.

    Args:
        file: The file, the URL, or `VIDEO#FRAME`.
        drawing: Where it can be looked at; None where nothing was drawn.
        objects: What is on it, best score first.
        moment: Where a frame is in its video.
    """

    file: str
    drawing: Path | None
    objects: tuple[ObjectRecord, ...]
    moment: Moment | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers; `frame` and `seconds` of frames only."""
        content: dict[str, Any] = {
            "file": self.file,
            "drawing": None if self.drawing is None else str(self.drawing),
            "objects": [one.to_json() for one in self.objects],
        }
        if self.moment is not None:
            content |= {"frame": self.moment.index, "seconds": self.moment.seconds}
        return content


@dataclass(frozen=True, slots=True)
class ImageOutputs:
    """What is left to do for one image or frame: the files that hold many. Can be sent to another process.

    Args:
        line: What was found, in words.
        contents: What goes into the files that hold many images, by kind.
        counts: Files that were written, by kind.
        record: What is on it, where records are kept.
        video: The video that it is in.
        best: The highest score; 0 without detections.
    """

    line: str
    contents: dict[str, Any]
    counts: dict[str, int]
    record: PredictionRecord | None
    video: Path | None
    best: float


def output_stems(sources: Sequence[Source]) -> list[str]:
    """Return what the outputs of each source are called, without a suffix; no two alike."""
    return [Path(name).stem for name in image_names([source.path for source in sources])]


class PredictionWriter:
    """Names what the sources give, and passes it to every kind of output; leaving it finishes them.

    Args:
        sources: What is looked at.
        folder: Where outputs go; None for no kinds.
        kinds: Kinds of outputs.
        style: What is shown.
        keep: Keep a record of each image in memory.

    Attributes:
        done: Images and frames written.
        records: What is on each, where they are kept.
        summary: What was written, in words; complete after leaving.
        files: The results files, tables and videos.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        folder: OutputFolder | None,
        kinds: Sequence[str],
        style: DisplayStyle,
        *,
        keep: bool,
    ) -> None:
        self.sources, self.folder, self.style, self.keep = sources, folder, style, keep
        self._paths = [source.path for source in sources]
        self._stems = output_stems(sources)
        moving = any(source.is_moving for source in sources)
        self._ids = None if moving else image_ids(self._paths)
        self._counter = count(1)
        self._outputs, self._shared = make_outputs(folder, kinds, style, frames=moving)
        self._open = False  # the files that hold many: there are none if nothing can be read
        self.done = 0
        self.records: list[PredictionRecord] = []
        self.summary: list[str] = []
        self._videos: dict[Path, None] = {}
        self._counts = dict.fromkeys(self._outputs, 0)

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed: ResourceError | None = None
        for name, number in self._counts.items():
            self._outputs[name].count = number
        outputs: dict[str, PerImageOutput | SharedOutput] = {
            **self._outputs,
            **(self._shared if self._open else {}),
        }
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
        folder = Path() if self.folder is None else self.folder.path
        return [*(str(folder / name) for name in whole), *map(str, self._videos)]

    def add(self, number: int, prediction: Prediction) -> ImageOutputs:
        """Write one image or frame of a source; see `make`."""
        made = self.make(number, prediction)
        self.write(made)
        return made

    def make(self, number: int, prediction: Prediction) -> ImageOutputs:
        """Write the files of one image or frame of a source alone; may be done in a thread of its own.

        Args:
            number: Number of the source.
            prediction: All that was found.

        Raises:
            ResourceError: If something cannot be written; what was written before is whole.
        """
        entry = OutputEntry(
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
            counts[kind] = output.count - before
        contents = {kind: output.content(entry) for kind, output in self._shared.items()}
        drawn, video = self._drawn(entry)
        record = self._record(entry, drawn) if self.keep else None
        line = f"{prediction.name}: {entry.shown.summary()}"
        scores = prediction.detections.scores
        best = float(scores.max()) if len(scores) else 0.0
        return ImageOutputs(line, contents, counts, record, video, best)

    def write(self, made: ImageOutputs) -> None:
        """Write one image or frame to the files that hold many, in the order that they are to have.

        Raises:
            ResourceError: If something cannot be written; what was written before is whole.
        """
        if not self._open:
            self._open = True
            for output in self._shared.values():
                output.open()
        for kind, content in made.contents.items():
            self._shared[kind].write(content)
        for kind, count_made in made.counts.items():
            self._counts[kind] += count_made
        self.done += 1
        if made.record is not None:
            self.records.append(made.record)
        if made.video:
            self._videos[made.video] = None

    def _drawn(self, entry: OutputEntry) -> tuple[Path | None, Path | None]:
        """Return where an entry can be looked at, and the video that it is in."""
        drawn = video = None
        for output in self._outputs.values():
            if isinstance(output, DrawingFiles | VideoFiles) and (path := output.path(entry)):
                drawn = path
                if isinstance(output, VideoFiles):
                    video = path
        return drawn, video

    def _record(self, entry: OutputEntry, drawn: Path | None) -> PredictionRecord:
        shown = entry.shown
        found = shown.detections
        told = (found.part_boxes, found.part_shares, found.part_falls) if self.style.parts else ()
        per_object = [[None] * len(shown) if values is None else values.tolist() for values in told]
        rows = zip(shown.class_names, shown.scores.tolist(), shown.boxes.tolist(), *per_object, strict=True)
        nothing = () if self.style.parts else (None,)
        objects = tuple(ObjectRecord(*row, *nothing) for row in rows)
        return PredictionRecord(shown.name, drawn, objects, shown.moment)
