"""Writes a detector as one self-describing ONNX or `torch.export` file, and compares it with PyTorch's."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dprd_cli import __version__
from dprd_cli.boxes import paired_iou
from dprd_cli.data.base import without_objects
from dprd_cli.data.images import read_image
from dprd_cli.data.transforms import prepare
from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.model.export import ExportDetector
from dprd_cli.structures import Detections
from dprd_cli.weights import LoadedModel

FORMATS = ("onnx", "torch-export")
#: Suffix of each format's files.
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
#: Where the description lies: a metadata property of an ONNX file, an extra file in a `torch.export` one.
METADATA = "dprd.json"

_STRIDE = 32
#: Of each output: shape in letters of `dprd_cli/model/__init__.py`, and what it is.
_OUTPUTS = {
    "boxes": ("N,D,4", "x1, y1, x2, y2 in pixels of the input"),
    "scores": ("N,D", "class scores in 0..1, best first"),
    "labels": ("N,D", "index into class_names, -1 from row `count` on"),
    "masks": ("N,D,M,M", "mask probabilities inside each box"),
    "mask_scores": ("N,D", "class score times predicted mask IoU"),
    "part_boxes": ("N,D,P,4", "parts of each detection, as boxes"),
    "count": ("N", "detections of each picture; rows beyond are padding"),
}

#: (images uint8 [N, 3, H, W], sizes int64 [N, 2]) -> name to output.
Runner = Callable[[NDArray[np.uint8], NDArray[np.int64]], dict[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an exported file is from PyTorch on one picture.

    Args:
        path: The picture.
        found: Detections of PyTorch.
        exported: Detections of the file.
        matched: Detections of PyTorch that the file has too: same label, IoU of at least 0.9.
        largest: Output -> largest absolute difference over the matched ones.
    """

    path: Path
    found: int
    exported: int
    matched: int
    largest: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether the same objects were found, boxes to half a pixel and scores and masks to 0.01."""
        close = all(value <= (0.5 if "boxes" in name else 0.01) for name, value in self.largest.items())
        return self.found == self.exported == self.matched and close


def describe(
    model: LoadedModel, outputs: list[str], batch: int | None, image_size: tuple[int, int] | None
) -> dict[str, Any]:
    """Return what a program needs to know to run the file; JSON-serialisable.

    Args:
        model: What is exported.
        outputs: Names, in order.
        batch: Fixed N, or None.
        image_size: Fixed (height, width), or None.
    """
    data = model.config.data
    height, width = image_size or ("32*h", "32*w")
    return {
        "format_version": 1,
        "program": f"dprd-cli {__version__}",
        "torch": str(torch.__version__),
        "preset": model.config.preset,
        "step": model.step,
        "class_names": list(model.class_names),
        "category_ids": list(model.category_ids),
        "inputs": {
            "images": {"shape": [batch or "N", 3, height, width], "dtype": "uint8"},
            "image_sizes": {"shape": [batch or "N", 2], "dtype": "int64", "meaning": "height, width"},
        },
        "preprocessing": {
            "color_order": "RGB",
            "range": [0, 255],
            "normalization": "inside the file",
            "resize": "bilinear; short side to min_size, unless the longest would exceed max_size",
            "min_size": data.test_min_size,
            "max_size": data.max_size,
            "size_divisor": _STRIDE,
            "padding": "right and bottom, any value",
        },
        "outputs": {name: {"shape": _OUTPUTS[name][0], "meaning": _OUTPUTS[name][1]} for name in outputs},
    }


def export(
    model: LoadedModel,
    file: Path,
    kind: str,
    *,
    batch: int | None = None,
    image_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Write a detector to a file, atomically.

    Args:
        model: On the CPU.
        file: Where it goes.
        kind: One of `FORMATS`.
        batch: Fixed number of pictures, or None: any.
        image_size: Fixed (height, width), multiples of 32, or None: any.

    Returns:
        The description that the file carries.

    Raises:
        UsageError: If the model cannot be exported, or what ONNX needs is not installed.
        ResourceError: If the file cannot be written.
    """
    if kind == "onnx":
        _require("onnx", "onnxscript")
    if model.config.model.parts.mode == "pooling":
        raise UsageError(f"{model.source}: bins that shift (model.parts.mode=pooling) cannot be exported")
    module = ExportDetector(model.detector)
    content = describe(model, module.outputs, batch, image_size)
    with _quiet():
        program = _trace(module, batch, image_size)
        if kind == "onnx":
            onnx = torch.onnx.export(
                program,
                (),
                dynamo=True,
                input_names=["images", "image_sizes"],
                output_names=module.outputs,
                verbose=False,
            )
            assert onnx is not None
            onnx.model.metadata_props[METADATA] = json.dumps(content)
    try:
        with _beside(file) as temporary:
            if kind == "onnx":
                onnx.save(temporary, external_data=False)
            else:
                torch.export.save(program, temporary, extra_files={METADATA: json.dumps(content)})
    except OSError as error:
        raise ResourceError(f"{file}: cannot be written ({error.strerror or error})") from error
    return content


def _trace(
    module: ExportDetector, batch: int | None, image_size: tuple[int, int] | None
) -> torch.export.ExportedProgram:
    """Trace the module with the dimensions that are not fixed as symbols."""
    number = batch or 2  # PyTorch takes a size of 1 for a constant
    height, width = image_size or (96, 128)
    images = torch.zeros(number, 3, height, width, dtype=torch.uint8)
    sizes = torch.tensor([[height, width]] * number)
    free: dict[int, Any] = {} if batch else {0: torch.export.Dim("N", min=1, max=4096)}
    sides: dict[int, Any] = {}
    if image_size is None:
        sides = {2 + i: _STRIDE * torch.export.Dim(name, min=2, max=1024) for i, name in enumerate("hw")}
    with torch.no_grad():
        return torch.export.export(
            module, (images, sizes), dynamic_shapes={"images": {**free, **sides}, "image_sizes": free}
        )


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not installed; `pip install 'dprd-cli[export]'`")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks, which a user can do nothing about, from the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[str]:
    """Give a temporary name in the file's folder; what is written there takes the file's place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
        temporary = Path(folder) / file.name
        yield str(temporary)
        os.replace(temporary, file)


def read_metadata(file: Path, kind: str) -> dict[str, Any]:
    """Return the description that an exported file carries."""
    if kind == "onnx":
        import onnx

        properties = {p.key: p.value for p in onnx.load(file, load_external_data=False).metadata_props}
        text = properties[METADATA]
    else:
        extra = {METADATA: ""}
        torch.export.load(file, extra_files=extra)
        text = extra[METADATA]
    content: dict[str, Any] = json.loads(text)
    return content


def open_exported(file: Path, kind: str) -> Runner:
    """Return a function that runs an exported file on the CPU.

    Raises:
        UsageError: If onnxruntime is needed and not installed.
    """
    if kind == "onnx":
        _require("onnxruntime")
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            return dict(
                zip(names, session.run(None, {"images": images, "image_sizes": sizes}), strict=True)
            )

        return run
    extra = {METADATA: ""}
    module = torch.export.load(file, extra_files=extra).module()
    outputs = list(json.loads(extra[METADATA])["outputs"])

    def run_program(images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            values = module(torch.from_numpy(images), torch.from_numpy(sizes))
        return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}

    return run_program


def compare(
    model: LoadedModel,
    runner: Runner,
    paths: list[Path],
    *,
    batch: int | None = None,
    image_size: tuple[int, int] | None = None,
) -> Iterator[Difference]:
    """Say of each picture how far an exported file is from PyTorch.

    Args:
        model: What was exported, on the CPU.
        runner: Runs the file.
        paths: Pictures.
        batch: The file's fixed number of pictures, or None.
        image_size: The file's fixed (height, width), or None; larger pictures are shrunk to fit.

    Raises:
        DataError: If a picture cannot be read.
    """
    for path in paths:
        image = _prepared(model, read_image(path, model.config.data.max_pixels), image_size)
        found = model.detector.detect([image]).detections[0]
        canvas, sizes = to_inputs(image, batch or 1, image_size)
        yield _difference(path, found, runner(canvas, sizes))


def _prepared(model: LoadedModel, image: NDArray[np.uint8], limit: tuple[int, int] | None) -> Tensor:
    data = model.config.data
    tensor = prepare(without_objects(image), data)[0]
    if limit is None or (tensor.shape[1] <= limit[0] and tensor.shape[2] <= limit[1]):
        return tensor
    shrink = min(limit[0] / tensor.shape[1], limit[1] / tensor.shape[2])
    smaller = {"test_min_size": max(1, int(min(tensor.shape[1:]) * shrink))}
    return prepare(without_objects(image), data.model_copy(update=smaller))[0]


def to_inputs(
    image: Tensor, batch: int, image_size: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the inputs of an exported file: `batch` copies of one picture [3, h, w], padded."""
    height, width = (int(side) for side in image.shape[1:])
    padded = image_size or (-(-height // _STRIDE) * _STRIDE, -(-width // _STRIDE) * _STRIDE)
    canvas = np.zeros((batch, 3, *padded), dtype=np.uint8)
    canvas[:, :, :height, :width] = image.numpy()
    return canvas, np.array([[height, width]] * batch, dtype=np.int64)


def _difference(path: Path, found: Detections, outputs: dict[str, NDArray[Any]]) -> Difference:
    count = int(outputs["count"][0])
    rows = {name: torch.from_numpy(value[0, :count]) for name, value in outputs.items() if name != "count"}
    overlap = paired_iou(found.boxes[:, None], rows["boxes"][None])  # [D, count]
    overlap = torch.where(found.labels[:, None] == rows["labels"], overlap, torch.zeros_like(overlap))
    best, index = overlap.max(dim=1) if count else (found.scores * 0, found.labels)
    kept = best >= 0.9
    largest = {}
    for name in rows:
        if name != "labels" and kept.any():
            gap = getattr(found, name)[kept] - rows[name][index[kept]]
            largest[name] = float(gap.abs().max())
    return Difference(path, len(found), count, int(kept.sum()), largest)
