"""From images, files, URLs and videos to detections in each image's own frame."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, repeat
from os import PathLike, fsdecode
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dprd_cli.data.transforms import prepare
from dprd_cli.errors import DataError
from dprd_cli.files.images import read_image, read_image_bytes
from dprd_cli.inference.inputs import Channels, ImageLike, to_rgb
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.sources import Source
from dprd_cli.inference.tiling import Tiling, detect_tiles
from dprd_cli.inference.tta import detect_views
from dprd_cli.inference.url import read_url
from dprd_cli.inference.video import FrameReader, Moment
from dprd_cli.runtime.ahead import ahead
from dprd_cli.runtime.precision import autocast
from dprd_cli.structures.detections import CascadeTrace, Detections
from dprd_cli.structures.sample import ImageArray, without_objects

if TYPE_CHECKING:
    from dprd_cli.weights.load import LoadedModel


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Something that could not be read, or not to its end.

    Args:
        name: The file, the URL or the video.
        message: The line that says so.
    """

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image that was read and resized, and waits for the network.

    Args:
        image: RGB. [H, W, 3]
        tensor: What the network sees, uint8 RGB; None for multi-scale testing and tiles. [3, h, w]
        name: What to call it; see `Prediction`.
        source: Number of the source that it comes from.
        moment: Where the frame of a video is in it; None for an image.
    """

    image: ImageArray
    tensor: Tensor | None
    name: str = ""
    source: int = 0
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How sources are read.

    Args:
        batch_size: Images that go through the network together. Padding to the largest of them changes
            detections in the last digits.
        workers: Threads that read and resize ahead of the network; 0 reads when the image's turn comes, and
            draws and writes before the next one's, which else a thread does behind the network.
        frame_step: Take every so many frames of a video.
        max_frames: Stop after so many taken frames of each video; 0 takes all.
    """

    batch_size: int = 1
    workers: int = 2
    frame_step: int = 1
    max_frames: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0), ("frame_step", 1), ("max_frames", 0)):
            check_range(name, getattr(self, name), least)


def check_range(name: str, value: float, least: float, largest: float = math.inf) -> None:
    """Check a number that a program gives.

    Raises:
        ValueError: If it is not in [least, largest].
    """
    if not least <= value <= largest:  # nan is not
        expected = f"at least {least}" if largest == math.inf else f"{least}..{largest}"
        raise ValueError(f"{name}: expected {expected}, but got {value}")


class Predictor:
    """Detects in images of any size.

    Args:
        loaded: The model; its configuration says how images are resized.
        min_score: Leave out detections below this score.
        tta: Detect at several scales and mirrored, one image at a time.
        masks: Predict masks, where the detector has mask heads.
        tiling: Detect in the tiles of larger images too, one image at a time.
        evidence: Tell which part decided, where parts meet in maxima; not of images seen in many views.

    Raises:
        ValueError: If `min_score` is not in 0..1.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        min_score: float = 0.0,
        tta: bool = False,
        masks: bool = True,
        tiling: Tiling | None = None,
        evidence: bool = False,
    ) -> None:
        check_range("score_thresh", min_score, 0, 1)
        self.detector = loaded.detector.eval()
        self.config = loaded.config
        self.class_names, self.category_ids = loaded.class_names, loaded.category_ids
        self.min_score = min_score
        self.tta, self.masks, self.tiling = tta, masks, tiling
        self.evidence_from = min_score if evidence else None
        self.device = self.detector.device

    def predict(self, image: ImageArray) -> Detections:
        """Detect in one image.

        Args:
            image: RGB. [H, W, 3]

        Returns:
            Detections in the frame of the image, on the CPU.
        """
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[ImageArray]) -> list[Detections]:
        """Detect in several images at once, each RGB [H, W, 3]; see `predict`."""
        return [found for found, _ in self._detect([self.prepare(image) for image in images])]

    def predict_files(
        self, paths: Sequence[Path], options: ReadOptions | None = None
    ) -> Iterator[Prediction | ReadFailure]:
        """Detect in files, in their order; a file that cannot be read is yielded as `ReadFailure`."""
        sources = [Source("image", str(path)) for path in paths]
        for _, item in self.predict_sources(sources, options or ReadOptions()):
            yield item

    def predict_sources(
        self, sources: Sequence[Source], options: ReadOptions, numbers: Sequence[int] | None = None
    ) -> Generator[tuple[int, Prediction | ReadFailure], None, None]:
        """Detect in whatever the sources hold, in their order, reading ahead of the network.

        Args:
            sources: All there are.
            options: How they are read.
            numbers: Which of the sources to look at; all by default. Sources b B to (b + 1) B - 1 make a
                batch, whichever are looked at and can be read.

        Yields:
            The number of the source, and an image's or frame's detections, or why it cannot be read; a
            video that breaks off yields its frames first.
        """
        chosen = range(len(sources)) if numbers is None else numbers
        numbered = [(number, sources[number]) for number in chosen]
        yield from self._in_batches(self._read_all(numbered, options), options.batch_size)

    def predict_inputs(self, images: Iterable[ImageInput], batch_size: int) -> Iterator[Prediction]:
        """Detect in images that were read and prepared already."""
        check_range("batch_size", batch_size, 1)
        for _, item in self._in_batches(((image.source, image) for image in images), batch_size):
            assert isinstance(item, Prediction)
            yield item

    def prepare(
        self, image: ImageArray, name: str = "", source: int = 0, moment: Moment | None = None
    ) -> ImageInput:
        """Resize an image, RGB [H, W, 3], for the network; see `ImageInput`."""
        alone = self.tta or self._in_tiles(image)
        tensor = None if alone else prepare(without_objects(image), self.config.data)[0]
        return ImageInput(image, tensor, name, source, moment)

    def prepare_any(self, image: ImageLike, channels: Channels = "rgb") -> ImageInput:
        """Read, where it is a file or URL, and resize one image.

        Raises:
            DataError: If it cannot be read.
        """
        if not isinstance(image, str | PathLike):
            return self.prepare(to_rgb(image, channels))
        name = fsdecode(image)
        is_url = name.lower().startswith(("http://", "https://"))
        item = self.read(Source("url" if is_url else "image", name))
        if isinstance(item, ReadFailure):
            raise DataError(item.message)
        return item

    def read(self, source: Source, number: int = 0) -> ImageInput | ReadFailure:
        """Read and resize one image."""
        try:
            if source.kind == "url":
                image = read_image_bytes(read_url(source.text), source.text, self.config.data.max_pixels)
            else:
                image = read_image(source.path, self.config.data.max_pixels)
        except DataError as error:
            return ReadFailure(source.text, str(error))
        return self.prepare(image, source.text, number)

    def _read_all(
        self, numbered: Sequence[tuple[int, Source]], options: ReadOptions
    ) -> Iterator[tuple[int, ImageInput | ReadFailure]]:
        for moving, group in groupby(numbered, key=lambda entry: entry[1].is_moving):
            if moving:
                for number, source in group:
                    yield from ((number, item) for item in self._read_video(source, number, options))
            else:
                tasks = (partial(self._numbered, *entry) for entry in group)
                yield from ahead(tasks, options.workers, options.workers + options.batch_size)

    def _numbered(self, number: int, source: Source) -> tuple[int, ImageInput | ReadFailure]:
        return number, self.read(source, number)

    def _read_video(
        self, source: Source, number: int, options: ReadOptions
    ) -> Iterator[ImageInput | ReadFailure]:
        """Yield a video's frames, decoded by one thread, and why it breaks off if it does."""
        try:
            frames = iter(FrameReader(source.text, options.frame_step, options.max_frames))
        except DataError as error:
            yield ReadFailure(source.text, str(error))
            return

        def following() -> ImageInput | ReadFailure | None:
            try:
                moment, image = next(frames, (None, None))
            except DataError as error:
                return ReadFailure(source.text, str(error))
            if moment is None or image is None:
                return None
            return self.prepare(image, f"{source.text}#{moment.index}", number, moment)

        for item in ahead(repeat(following), min(options.workers, 1), 2 * options.batch_size):
            if item is not None:
                yield item
            if not isinstance(item, ImageInput):
                return

    def _in_batches(
        self, items: Iterable[tuple[int, ImageInput | ReadFailure]], batch_size: int
    ) -> Iterator[tuple[int, Prediction | ReadFailure]]:
        waiting: list[tuple[int, ImageInput | ReadFailure]] = []
        full = 0
        for number, item in items:
            if waiting and number // batch_size != waiting[0][0] // batch_size:
                yield from self._finish_all(waiting)
                waiting, full = [], 0
            waiting.append((number, item))
            full += isinstance(item, ImageInput)
            if full == batch_size or not full:
                yield from self._finish_all(waiting)
                waiting, full = [], 0
        yield from self._finish_all(waiting)

    def _finish_all(
        self, waiting: Sequence[tuple[int, ImageInput | ReadFailure]]
    ) -> Iterator[tuple[int, Prediction | ReadFailure]]:
        ready = [item for _, item in waiting if isinstance(item, ImageInput)]
        found = iter(self._detect(ready) if ready else [])
        names, ids = self.class_names, self.category_ids
        for number, item in waiting:
            if isinstance(item, ImageInput):
                detections, trace = next(found)
                yield number, Prediction(item.name, item.image, detections, names, ids, item.moment, trace)
            else:
                yield number, item

    @torch.inference_mode()
    def _detect(self, images: Sequence[ImageInput]) -> list[tuple[Detections, CascadeTrace | None]]:
        tensors = [one.tensor.to(self.device) for one in images if one.tensor is not None]
        with autocast(self.device, self.detector.precision):
            told = self.evidence_from
            output = self.detector.detect(tensors, masks=self.masks, evidence_from=told) if tensors else None
            together = iter(() if output is None else zip(output.detections, output.traces, strict=True))
            found = [
                next(together) if one.tensor is not None else (self._detect_alone(one.image), None)
                for one in images
            ]
        return [self._finish(row[0], row[1], one) for row, one in zip(found, images, strict=True)]

    def _detect_alone(self, image: ImageArray) -> Detections:
        """Detect in the many views of one image, RGB [H, W, 3]."""
        data, tiling = self.config.data, self.tiling
        if tiling is not None and self._in_tiles(image):
            return detect_tiles(self.detector, image, data, tiling, masks=self.masks, tta=self.tta)
        return detect_views(self.detector, image, data, masks=self.masks)

    def _in_tiles(self, image: ImageArray) -> bool:
        return self.tiling is not None and self.tiling.cuts((image.shape[0], image.shape[1]))

    def _finish(
        self, detections: Detections, trace: CascadeTrace | None, image: ImageInput
    ) -> tuple[Detections, CascadeTrace | None]:
        """Return what reaches the least score, on the CPU and in the frame of the image."""
        found, size = detections.to("cpu"), image.image.shape[:2]
        kept = found.scores >= self.min_score
        return found[kept].resize(size), None if trace is None else trace.to("cpu")[kept].resize(size)
