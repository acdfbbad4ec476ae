"""Compares an exported file with PyTorch, image by image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dprd_cli.data.transforms import prepare
from dprd_cli.export.write import METADATA, ExportOptions, require
from dprd_cli.files.images import read_image
from dprd_cli.model.detector import STRIDE
from dprd_cli.ops.boxes import paired_iou
from dprd_cli.structures.sample import without_objects
from dprd_cli.weights.load import LoadedModel

_SAME_IOU = 0.9  # from which two detections of one label are the same

#: (images uint8 [N, 3, H, W], sizes int64 [N, 2]) -> name to output.
Runner = Callable[[NDArray[np.uint8], NDArray[np.int64]], dict[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class ExportDifference:
    """How far an exported file is from PyTorch on one image.

    Args:
        path: The image.
        found: Detections of PyTorch.
        exported: Detections of the file.
        matched: Detections of PyTorch that the file has too: same label, IoU of at least 0.9.
        largest: Output -> largest absolute difference over the matched ones. Masks and parts are
            compared with what PyTorch says of the file's own boxes.
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

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        counts = {"found": self.found, "exported": self.exported, "matched": self.matched}
        return {"file": str(self.path), **counts, "largest": self.largest, "agrees": self.agrees}


def open_exported(file: Path, kind: str) -> Runner:
    """Return a function that runs an exported file on the CPU.

    Raises:
        UsageError: If onnxruntime is needed and not installed.
    """
    if kind == "onnx":
        require("onnxruntime")
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            return dict(zip(names, session.run(None, {"images": images, "image_sizes": sizes}), strict=True))

        return run
    extra = {METADATA: ""}
    # before PyTorch 2.15 some guards hold for the traced sizes alone
    module = torch.export.load(file, extra_files=extra).module(check_guards=False)
    outputs = list(json.loads(extra[METADATA])["outputs"])

    def run_program(images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            values = module(torch.from_numpy(images), torch.from_numpy(sizes))
        return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}

    return run_program


def compare_exported(
    model: LoadedModel, runner: Runner, paths: Sequence[Path], options: ExportOptions
) -> Iterator[ExportDifference]:
    """Say of each image how far an exported file is from PyTorch.

    Args:
        model: What was exported, on the CPU.
        runner: Runs the file.
        paths: Images.
        options: The form of the file; images larger than a fixed size are shrunk to fit.

    Raises:
        DataError: If an image cannot be read.
    """
    image_size = options.image_size
    for path in paths:
        image = _prepared(model, read_image(path, model.config.data.max_pixels), image_size)
        outputs = runner(*to_inputs(image, options.batch or 1, image_size))
        # PyTorch pads to the batch's largest image, and padding changes features near the edges
        frame = [] if image_size is None else [torch.zeros(3, *image_size, dtype=torch.uint8)]
        yield _difference(path, model, [image, *frame], outputs)


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
    """Return the inputs of an exported file: `batch` copies of one image [3, h, w], padded."""
    height, width = (int(side) for side in image.shape[1:])
    padded = image_size or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    canvas = np.zeros((batch, 3, *padded), dtype=np.uint8)
    canvas[:, :, :height, :width] = image.numpy()
    return canvas, np.array([[height, width]] * batch, dtype=np.int64)


def _difference(
    path: Path, model: LoadedModel, images: list[Tensor], outputs: dict[str, NDArray[Any]]
) -> ExportDifference:
    found = model.detector.detect(images).detections[0]
    count = int(outputs["count"][0])
    rows = {name: torch.from_numpy(value[0, :count]) for name, value in outputs.items() if name != "count"}
    overlap = paired_iou(found.boxes[:, None], rows["boxes"][None])  # [D, count]
    overlap = torch.where(found.labels[:, None] == rows["labels"], overlap, torch.zeros_like(overlap))
    best, index = overlap.max(dim=1) if count else (found.scores * 0, found.labels)
    kept = best >= _SAME_IOU
    found, rows = found[kept], {name: value[index[kept]] for name, value in rows.items()}
    if model.config.model.parts.refeed == "lookup":
        # Part offsets are looked up in the cell of a box: in the last digit, a box can be in the next cell
        details = model.detector.forward_with_given_boxes(
            images[0], rows["boxes"], rows["labels"], beside=images[1:]
        )
        scores = details.mask_scores(rows["scores"])
        found = replace(found, masks=details.masks, part_boxes=details.part_boxes, mask_scores=scores)
    gaps = {name: (getattr(found, name) - value).abs() for name, value in rows.items() if name != "labels"}
    largest = {name: float(gap.max()) for name, gap in gaps.items() if len(found)}
    return ExportDifference(path, len(best), count, len(found), largest)
