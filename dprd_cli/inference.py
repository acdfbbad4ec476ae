"""From files, folders and globs to detections in each picture's own frame."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dprd_cli.data.base import without_objects
from dprd_cli.data.images import read_image
from dprd_cli.data.transforms import prepare
from dprd_cli.device import autocast
from dprd_cli.errors import DataError
from dprd_cli.structures import Detections
from dprd_cli.tta import detect_views

if TYPE_CHECKING:
    from dprd_cli.weights import LoadedModel

#: Suffixes of the files that are taken from a folder or a glob; a file named on its own may have any.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})


def find_images(inputs: Iterable[str]) -> list[Path]:
    """Return the pictures that files, folders and globs stand for, each once, in the order given.

    Args:
        inputs: Files; folders (their pictures by name, not those of folders inside); globs (`**` goes into
            folders).

    Raises:
        DataError: At the first input that is not there or holds no picture.
    """
    found: dict[Path, Path] = {}
    for text in inputs:
        for path in _expand(text):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        try:
            inside = _pictures(path.iterdir())
        except OSError as error:
            raise DataError(f"{path}: cannot read the folder ({error.strerror})") from error
        if not inside:
            raise DataError(f"{path}: no images in this folder (looked for {', '.join(sorted(SUFFIXES))})")
        return inside
    if path.exists():
        return [path]
    if not glob.has_magic(text):
        raise DataError(f"{path}: no such file or folder; check the path")
    inside = _pictures(Path(name) for name in glob.glob(text, recursive=True))
    if not inside:
        raise DataError(f"{text}: no image matches")
    return inside


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())


@dataclass(frozen=True, slots=True)
class Prediction:
    """One picture's detections.

    Args:
        path: The file.
        image: RGB, upright. [H, W, 3]
        detections: On the CPU, in the frame of `image`, best score first.
    """

    path: Path
    image: NDArray[np.uint8]
    detections: Detections


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is no picture, and the line that says so."""

    path: Path
    message: str


class Predictor:
    """Detects in pictures of any size.

    Args:
        loaded: The model; its configuration says how pictures are resized.
        min_score: Leave out detections below this score.
        part_offsets: `learned`, `mean` or `reference`.
        tta: Detect at several scales and mirrored, one picture at a time.
        masks: Predict masks, where the detector has mask heads.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        min_score: float = 0.0,
        part_offsets: str = "learned",
        tta: bool = False,
        masks: bool = True,
    ) -> None:
        self.detector = loaded.detector.eval()
        self.config = loaded.config
        self.min_score = min_score
        self.part_offsets = part_offsets
        self.tta, self.masks = tta, masks
        self.device = next(self.detector.parameters()).device

    def predict(self, image: NDArray[np.uint8]) -> Detections:
        """Detect in one picture.

        Args:
            image: RGB. [H, W, 3]

        Returns:
            Detections in the frame of the picture, on the CPU.
        """
        return self.predict_batch([image])[0]

    @torch.inference_mode()
    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect in several pictures at once, each RGB [H, W, 3]; see `predict`."""
        data, offsets, masks = self.config.data, self.part_offsets, self.masks
        with autocast(self.device, self.config.train.amp):
            if self.tta:
                found = [detect_views(self.detector, image, data, offsets, masks=masks) for image in images]
            else:
                tensors = [prepare(without_objects(image), data)[0].to(self.device) for image in images]
                found = self.detector.detect(tensors, offsets, masks=masks).detections
        return [
            self._finish(detections, (image.shape[0], image.shape[1]))
            for detections, image in zip(found, images, strict=True)
        ]

    def predict_files(self, paths: Sequence[Path], batch_size: int = 1) -> Iterator[Prediction | Unreadable]:
        """Detect in files, in their order; a file that cannot be read is yielded as `Unreadable`.

        Args:
            paths: The files.
            batch_size: Pictures that go through the network together. Padding to the largest of them
                changes detections in the last digits.
        """
        for start in range(0, len(paths), batch_size):
            read = [self._read(path) for path in paths[start : start + batch_size]]
            images = [item for item in read if not isinstance(item, str)]
            found = iter(self.predict_batch(images) if images else [])
            for path, item in zip(paths[start : start + batch_size], read, strict=True):
                yield Unreadable(path, item) if isinstance(item, str) else Prediction(path, item, next(found))

    def _read(self, path: Path) -> NDArray[np.uint8] | str:
        try:
            return read_image(path, self.config.data.max_pixels)
        except DataError as error:
            return str(error)

    def _finish(self, detections: Detections, image_size: tuple[int, int]) -> Detections:
        found = detections.to("cpu")
        return found[found.scores >= self.min_score].resize(image_size)
