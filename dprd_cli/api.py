"""The Python interface: a checkpoint in, predictions out.

>>> from dprd_cli import load
>>> model = load("demo", device="cpu")
>>> model.class_names
('tadpole', 'dumbbell', 'flower', 'fan', 'lizard', 'squid')
>>> import numpy as np
>>> grey = np.full((120, 160, 3), 128, dtype=np.uint8)
>>> model.predict(grey)
Prediction('image', 160x120: nothing found)
>>> [len(prediction) for prediction in model.predict([grey, grey], batch_size=2)]
[0, 0]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike, fsdecode
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from dprd_cli.errors import DataError
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import ImageInput, Predictor, ReadFailure, ReadOptions
from dprd_cli.inference.sources import Source, find_sources
from dprd_cli.weights.load import LoadedModel, load_model

Channels: TypeAlias = Literal["rgb", "bgr"]
#: A file or URL; a Pillow image; an array, uint8 [H, W, 3] or grey [H, W]; a tensor [3, H, W], uint8 or 0..1.
ImageLike: TypeAlias = str | PathLike[str] | Image.Image | NDArray[Any] | Tensor


def load(weights: str | PathLike[str] = "", *, device: str = "auto", score_thresh: float = 0.5) -> Model:
    """Load a detector.

    Args:
        weights: What `--weights` takes: a run folder, a checkpoint, `demo`, published weights; empty for the
            newest run.
        device: `auto` (CUDA where there is one), `cpu` or `cuda`.
        score_thresh: Predictions hold detections from this score; each call can take another.

    Raises:
        UserError: One line, if there is no such checkpoint or it does not fit.
    """
    return Model(load_model(fsdecode(weights), device), score_thresh=score_thresh)


class Model:
    """A detector that is ready to detect.

    Args:
        loaded: The detector, and what it was trained as.
        score_thresh: Predictions hold detections from this score.
    """

    def __init__(self, loaded: LoadedModel, *, score_thresh: float = 0.5) -> None:
        self.loaded, self.score_thresh = loaded, score_thresh

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class index. [K]."""
        return self.loaded.class_names

    @property
    def device(self) -> torch.device:
        """Where the detector is."""
        return self.loaded.detector.device

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is a sequence too: the first wins
        self,
        images: ImageLike,
        *,
        batch_size: int = ...,
        score_thresh: float | None = ...,
        channels: Channels = ...,
        masks: bool = ...,
        tta: bool = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Sequence[ImageLike],
        *,
        batch_size: int = ...,
        score_thresh: float | None = ...,
        channels: Channels = ...,
        masks: bool = ...,
        tta: bool = ...,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        batch_size: int = 1,
        score_thresh: float | None = None,
        channels: Channels = "rgb",
        masks: bool = True,
        tta: bool = False,
    ) -> Prediction | list[Prediction]:
        """Detect in one image, or in several.

        Args:
            images: One, or a list or tuple of them; see `ImageLike`.
            batch_size: Images that go through the network together.
            score_thresh: Keep detections from this score; the model's by default.
            channels: Order of the channels in arrays and tensors: `bgr` is what OpenCV reads.
            masks: Predict masks, where the detector has mask heads.
            tta: Detect at several scales and mirrored, and merge.

        Returns:
            A `Prediction`, or a list of them in the order of the images.

        Raises:
            DataError: If a file or URL cannot be read.
            ValueError: If an array or tensor has another shape, type or range.
            TypeError: If it is something else.
        """
        if isinstance(images, list | tuple):
            several = list(images)
        elif isinstance(images, str | PathLike | Image.Image | np.ndarray | Tensor):
            several = [images]
        else:
            raise TypeError(f"images: expected an image or a list of them, but got {type(images).__name__}")
        predictor = Predictor(self.loaded, min_score=self._threshold(score_thresh), masks=masks, tta=tta)
        inputs = (_prepare(predictor, image, channels) for image in several)
        found = list(predictor.predict_inputs(inputs, batch_size))
        return found if isinstance(images, list | tuple) else found[0]

    def stream(
        self,
        *inputs: str | PathLike[str],
        recursive: bool = False,
        batch_size: int = 1,
        workers: int = 2,
        frame_step: int = 1,
        score_thresh: float | None = None,
        masks: bool = True,
        skip_unreadable: bool = False,
    ) -> Iterator[Prediction]:
        """Detect in everything that `dprd predict` takes, one image or frame at a time.

        Args:
            inputs: Files, folders, globs, videos, URLs, `webcam:N`, `@LIST`.
            recursive: Folders give the images of the folders inside too.
            batch_size: Images that go through the network together.
            workers: Threads that read ahead of the network.
            frame_step: Take every so many frames of a video.
            score_thresh: Keep detections from this score; the model's by default.
            masks: Predict masks, where the detector has mask heads.
            skip_unreadable: Leave out what cannot be read, instead of raising.

        Raises:
            DataError: If an input is not there, or one cannot be read.
        """
        predictor = Predictor(self.loaded, min_score=self._threshold(score_thresh), masks=masks)
        sources = find_sources([fsdecode(text) for text in inputs], recursive=recursive)
        for _, item in predictor.predict_sources(sources, ReadOptions(batch_size, workers, frame_step)):
            if isinstance(item, Prediction):
                yield item
            elif not skip_unreadable:
                raise DataError(item.message)

    def _threshold(self, score_thresh: float | None) -> float:
        return self.score_thresh if score_thresh is None else score_thresh


def _prepare(predictor: Predictor, image: ImageLike, channels: Channels) -> ImageInput:
    """Bring any kind of image into the form that the network is fed from."""
    if isinstance(image, str | PathLike):
        name = fsdecode(image)
        is_url = name.lower().startswith(("http://", "https://"))
        item = predictor.read(Source("url" if is_url else "image", name))
        if isinstance(item, ReadFailure):
            raise DataError(item.message)
        return item
    if isinstance(image, Image.Image):
        return predictor.prepare(_from_pillow(image))
    if isinstance(image, Tensor):
        return predictor.prepare(_in_rgb(_from_tensor(image), channels))
    if isinstance(image, np.ndarray):
        return predictor.prepare(_in_rgb(_from_array(image), channels))
    raise TypeError(f"expected a path, a Pillow image, an array or a tensor, but got {type(image).__name__}")


def _in_rgb(image: NDArray[np.uint8], channels: Channels) -> NDArray[np.uint8]:
    if channels not in ("rgb", "bgr"):
        raise ValueError(f"channels: expected 'rgb' or 'bgr', but got {channels!r}")
    return np.ascontiguousarray(image if channels == "rgb" else image[:, :, ::-1])


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """Turn a Pillow image upright and into 8-bit RGB. [H, W, 3]."""
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(f"expected an image of 8 bits a channel, but got mode {image.mode}; pass its file")
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def _from_tensor(image: Tensor) -> NDArray[np.uint8]:
    """Turn a tensor [3, H, W], uint8 or floating in 0..1, into an array [H, W, 3]."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected a tensor of shape (3, _, _), but got {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.is_floating_point():
        if not bool(((image >= 0) & (image <= 1)).all()):
            raise ValueError("expected a tensor of values in 0..1, or of uint8")
        image = (image * 255).round().to(torch.uint8)
    return _from_array(image.permute(1, 2, 0).numpy())


def _from_array(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Check an array, uint8 [H, W, 3] or grey [H, W], and return it as [H, W, 3]."""
    if image.dtype != np.uint8:
        raise ValueError(f"expected values of type uint8, but got {image.dtype}")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected an array of shape (_, _, 3) or (_, _), but got {image.shape}")
    return image
