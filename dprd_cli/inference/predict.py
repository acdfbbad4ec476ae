"""Detects in images and videos, and writes what was found: one call, in as many processes as there are."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dprd_cli.errors import DataError, InterruptedRun, UsageError
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, output_folder
from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.outputs import output_names
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import Predictor, ReadFailure, ReadOptions
from dprd_cli.inference.sharding import merge_in_order, own_batches
from dprd_cli.inference.sources import Source
from dprd_cli.inference.tiling import Tiling
from dprd_cli.inference.video import stated_frames
from dprd_cli.inference.writer import ImageOutputs, PredictionRecord, PredictionWriter, output_stems
from dprd_cli.runtime.ahead import ahead
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import detail, progress, say
from dprd_cli.runtime.signals import StopRequest
from dprd_cli.weights.load import LoadedModel

#: Where results go unless something else is asked for, or the next free one of such a name.
DEFAULT_FOLDER = Path("predictions")
#: What is written unless something else is asked for.
DEFAULT_KINDS = ("images", "video", "coco", "csv")


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How inputs are read, detected in and written.

    Args:
        output: Folder of the results; `DEFAULT_FOLDER` by default.
        kinds: What is written, by the names in `outputs.KINDS`.
        style: What is shown of detections.
        read: How inputs are read.
        part_offsets: `learned`, `mean` (one template per part) or `reference` (parts do not move).
        tta: Detect at several scales and mirrored.
        tiling: Detect in the tiles of large images too.
        share: Which share of the inputs is looked at, from 0, and how many shares there are.
        records: Keep a record of each image, and say nothing of it.
    """

    output: OutputChoice = field(default_factory=OutputChoice)
    kinds: Sequence[str] = DEFAULT_KINDS
    style: DisplayStyle = field(default_factory=DisplayStyle)
    read: ReadOptions = field(default_factory=ReadOptions)
    part_offsets: str = "learned"
    tta: bool = False
    tiling: Tiling | None = None
    share: tuple[int, int] = (0, 1)
    records: bool = False


@dataclass(frozen=True, slots=True)
class PredictSummary:
    """What was detected in and written.

    Args:
        checkpoint: The detector's file.
        options: How it was done.
        folder: The folder of the results; None if nothing was to be saved.
        total: Number of inputs that were to be looked at.
        done: Number of images and frames that are written.
        moving: Whether there are videos among the inputs.
        files: The results files, tables and videos.
        written: What there is in the folder, in words.
        records: What is on each image, where records are kept.
        failures: What could not be read.
        exit_code: What the program should end with, if a signal stopped it; else 0.
    """

    checkpoint: Path
    options: PredictOptions
    folder: Path | None
    total: int
    done: int
    moving: bool
    files: tuple[str, ...]
    written: tuple[str, ...]
    records: tuple[PredictionRecord, ...]
    failures: tuple[ReadFailure, ...]
    exit_code: int

    @property
    def _place(self) -> str:
        return f" in {self.folder}/" if self.folder and self.done else ""

    def __str__(self) -> str:
        return f"{', '.join(self.written) or 'nothing saved'}{self._place}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        options = self.options
        return {
            "checkpoint": str(self.checkpoint),
            "out": str(self.folder) if self.folder and self.done else None,
            "results": list(self.files),
            "score_thresh": options.style.score_thresh,
            "part_offsets": options.part_offsets,
            "tta": options.tta,
            "tile": options.tiling and asdict(options.tiling),
            "shard": f"{options.share[0] + 1}/{options.share[1]}",
            "images": [record.to_json() for record in self.records],
            "errors": [{"file": failure.name, "message": failure.message} for failure in self.failures],
            "interrupted": bool(self.exit_code),
        }

    def raise_for_failures(self) -> None:
        """Raise if not everything was looked at.

        Raises:
            InterruptedRun: If a signal stopped it.
            DataError: If something could not be read.
        """
        if self.exit_code:
            done = f"{self.done} image{'' if self.done == 1 else 's'}"
            raise InterruptedRun(f"stopped; what was done is whole ({done})", self.exit_code)
        if self.failures:
            what = "inputs" if self.moving else "images"
            rest = f"; the others are{self._place}" if self._place else ""
            raise DataError(f"{len(self.failures)} of {self.total} {what} could not be read{rest}")


def predict(
    model: LoadedModel,
    sources: Sequence[Source],
    options: PredictOptions | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> PredictSummary:
    """Detect in everything that sources hold, and write what was found, image by image.

    Law: the number of processes changes neither what is found nor what is written.

    Args:
        model: The detector.
        sources: What is looked at; from `find_sources`.
        options: How; by default annotated images and videos, COCO results and a table.
        group: The processes that share the inputs; the main one says and writes what holds many images.

    Returns:
        On the main process, all of it; on the others, what they know: the exit code.

    Raises:
        UsageError: If the folder holds what is read, or processes were to share a video.
        ResourceError: If something cannot be written; what was written before is whole.
    """
    options = options or PredictOptions()
    if group.size > 1 and any(source.is_moving for source in sources):
        raise UsageError("videos and webcams: in one process; start one command for each")
    model = model.with_part_offsets(options.part_offsets)
    options = _with_threshold(options, model)
    _tell_what_is_lacking(model, options)
    with _shared_folder(sources, options, group) as folder:
        return _predict(model, sources, options, folder, group)


def _predict(
    model: LoadedModel,
    sources: Sequence[Source],
    options: PredictOptions,
    folder: OutputFolder | None,
    group: ProcessGroup,
) -> PredictSummary:
    size, style = options.read.batch_size, options.style
    numbers = own_batches(range(len(sources)), size, *options.share)
    alone = options.tta or options.tiling is not None  # merged detections have no way through the cascade
    predictor = Predictor(
        model,
        tta=options.tta,
        masks=style.masks,
        tiling=options.tiling,
        evidence=style.parts and not alone,
    )
    writer = PredictionWriter(sources, folder, options.kinds, style, keep=options.records)
    failures: list[ReadFailure] = []
    best, started = -1.0, time.monotonic()
    own = own_batches(numbers, size, group.rank, group.size)
    make = partial(_make_outputs, writer=writer, read=options.read)
    moving = any(source.is_moving for source in sources)
    total = _images_and_frames([sources[number] for number in numbers], options.read)
    with (
        StopRequest() as stop,
        writer,
        progress("detect", "images and frames" if moving else "images") as show,
        closing(predictor.predict_sources(sources, options.read, own)) as found,
        closing(merge_in_order(found, numbers, size, group, lambda: stop.exit_code > 0, make=make)) as merged,
    ):
        for _, item in merged:
            if isinstance(item, ReadFailure):
                say(f"skipped: {item.message}")
                failures.append(item)
            else:
                writer.write(item)
                best = max(best, item.best)
                if not options.records:
                    say(item.line)
            show(writer.done + len(failures), total)
    seconds = time.monotonic() - started
    detail(f"{writer.done} images in {seconds:.1f} s, {seconds / max(1, writer.done):.2f} s each")
    _tell_best(best, options.style.score_thresh or 0.0)
    return PredictSummary(
        checkpoint=model.source,
        options=options,
        folder=None if folder is None else folder.path,
        total=len(numbers),
        done=writer.done,
        moving=moving,
        files=tuple(writer.files),
        written=tuple(writer.summary),
        records=tuple(writer.records),
        failures=tuple(failures),
        exit_code=group.all_reduce_max(stop.exit_code),
    )


def _make_outputs(
    found: Iterable[tuple[int, Prediction | ReadFailure]], writer: PredictionWriter, read: ReadOptions
) -> Iterator[tuple[int, ImageOutputs | ReadFailure]]:
    """Draw and write the files of each image alone, behind the network where threads read ahead of it."""
    tasks = (partial(_make_one, writer, number, item) for number, item in found)
    return ahead(tasks, min(read.workers, 1), read.batch_size)  # one: a video's frames have an order


def _make_one(
    writer: PredictionWriter, number: int, item: Prediction | ReadFailure
) -> tuple[int, ImageOutputs | ReadFailure]:
    return number, item if isinstance(item, ReadFailure) else writer.make(number, item)


def _images_and_frames(sources: Sequence[Source], read: ReadOptions) -> int:
    """Return how many images and frames there are, by what the videos say; 0 where one does not."""
    if not any(source.is_moving for source in sources):
        return len(sources)
    counts = [
        stated_frames(source.text, read.frame_step, read.max_frames) if source.is_moving else 1
        for source in sources
    ]
    return sum(counts) if all(counts) else 0


def _with_threshold(options: PredictOptions, model: LoadedModel) -> PredictOptions:
    """Return the options with the detector's own score threshold, where none was given; say it."""
    style = options.style
    if style.score_thresh is not None:
        return options
    if model.score_thresh is not None:
        text = "had the best F1 when the detector was evaluated in training; --score-thresh takes another"
        say(f"shown from score {model.score_thresh:.3g}, which {text}")
    return replace(options, style=replace(style, score_thresh=model.shown_from))


def _tell_best(best: float, least: float) -> None:
    """Say what threshold would show something, where nothing reached this one.

    Args:
        best: The highest score of all images; below 0 where there was no image.
        least: Detections are shown from this score.
    """
    if best == 0:
        say("nothing was detected, at any score")
    elif 0 < best < least:
        digits = 1 if best >= 0.1 else 2
        lower = math.floor(best * 10**digits) / 10**digits
        say(f"nothing reached {least:g} (best {best:.2g}); try --score-thresh {lower:g}")


def _tell_what_is_lacking(model: LoadedModel, options: PredictOptions) -> None:
    """Say what was asked for and the model cannot give."""
    if options.style.parts and not model.detector.has_parts:
        say("this model has no parts; --save-parts does nothing")
    elif options.style.parts and model.detector.parts_meet and (options.tta or options.tiling is not None):
        say("which part decided is not told with --tta or --tile: merged detections come from many views")
    if "masks" in options.kinds and not (options.style.masks and model.with_masks):
        say("no masks here; --save masks does nothing")


@contextmanager
def _shared_folder(
    sources: Sequence[Source], options: PredictOptions, group: ProcessGroup
) -> Iterator[OutputFolder | None]:
    """Hold the folder on the main process, and join it on the others."""
    if not options.kinds:
        yield None
        return
    if not group.is_main:
        yield OutputFolder(group.broadcast(lambda: DEFAULT_FOLDER), "predict", group.rank)
        return
    names = output_names(sources, output_stems(sources), options.kinds)
    inputs = [source.path for source in sources if source.is_file]
    with output_folder(options.output, DEFAULT_FOLDER, "predict", names=names, inputs=inputs) as folder:
        if group.size > 1:  # before the others write
            folder.begin()
        group.broadcast(lambda: folder.path)
        yield folder
