"""Writes a detector as one self-describing ONNX or `torch.export` file."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.export.network import ExportDetector
from dprd_cli.model.detector import STRIDE
from dprd_cli.runtime.progress import stage
from dprd_cli.version import __version__
from dprd_cli.weights.load import LoadedModel

FORMATS = ("onnx", "torch-export")
#: Suffix of each format's files.
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
#: Where the description lies: a metadata property of an ONNX file, an extra file in a `torch.export` one.
METADATA = "dprd.json"

#: Whose loggers are silent meanwhile.
_EXPORTERS = ("torch", "onnx", "onnxscript", "onnx_ir")
#: Of each output: shape in letters of `dprd_cli/model/__init__.py`, and what it is.
_OUTPUTS = {
    "boxes": ("N,D,4", "x1, y1, x2, y2 in pixels of the input"),
    "scores": ("N,D", "class scores in 0..1, best first"),
    "labels": ("N,D", "index into class_names, -1 from row `count` on"),
    "masks": ("N,D,M,M", "mask probabilities inside each box"),
    "mask_scores": ("N,D", "class score times predicted mask IoU"),
    "part_boxes": ("N,D,P,4", "parts of each detection, as boxes"),
    "count": ("N", "detections of each image; rows beyond are padding"),
}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The form of an exported file.

    Args:
        kind: One of `FORMATS`.
        batch: Fixed number of images, or None: any.
        image_size: Fixed (height, width), multiples of 32, or None: any.
    """

    kind: str = "onnx"
    batch: int | None = None
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """What a program needs to know to run an exported file, which carries it as JSON.

    Args:
        preset: Preset of the detector.
        step: Optimiser steps that it was trained for.
        class_names: Name of each class index. [K]
        category_ids: Original category id of each class index. [K]
        outputs: Names of the outputs, in order.
        options: The form of the file.
        min_size: Short side that images are resized to.
        max_size: What the long side may be at most.
        score_thresh: Score from which detections are shown.
    """

    preset: str
    step: int
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    outputs: tuple[str, ...]
    options: ExportOptions
    min_size: int
    max_size: int
    score_thresh: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers; docs/export.md explains them."""
        batch = self.options.batch or "N"
        height, width = self.options.image_size or ("32*h", "32*w")
        return {
            "format_version": 1,
            "program": f"dprd-cli {__version__}",
            "torch": str(torch.__version__),
            "preset": self.preset,
            "step": self.step,
            "class_names": list(self.class_names),
            "category_ids": list(self.category_ids),
            "score_thresh": self.score_thresh,
            "inputs": {
                "images": {"shape": [batch, 3, height, width], "dtype": "uint8"},
                "image_sizes": {"shape": [batch, 2], "dtype": "int64", "meaning": "height, width"},
            },
            "preprocessing": {
                "color_order": "RGB",
                "range": [0, 255],
                "normalization": "inside the file",
                "resize": "bilinear; short side to min_size, unless the longest would exceed max_size",
                "min_size": self.min_size,
                "max_size": self.max_size,
                "size_divisor": STRIDE,
                "padding": "right and bottom, any value",
            },
            "outputs": {
                name: {"shape": _OUTPUTS[name][0], "meaning": _OUTPUTS[name][1]} for name in self.outputs
            },
        }


def write_export(model: LoadedModel, file: Path, options: ExportOptions) -> ExportMetadata:
    """Write a detector to a file, atomically.

    Args:
        model: What is exported, on the CPU.
        file: Where it goes.
        options: The form of the file.

    Returns:
        The metadata that the file carries.

    Raises:
        UsageError: If the model cannot be exported, or what ONNX needs is not installed.
        ResourceError: If the file cannot be written.
    """
    if options.kind == "onnx":
        require("onnx", "onnxscript")
    if model.detector.roi_heads.bins_shift:
        raise UsageError(f"{model.source}: bins that shift (model.parts.mode=pooling) cannot be exported")
    module = ExportDetector(model.detector)
    metadata = ExportMetadata(
        preset=model.config.preset,
        step=model.step,
        class_names=model.class_names,
        category_ids=model.category_ids,
        outputs=tuple(module.outputs),
        options=options,
        min_size=model.config.data.test_min_size,
        max_size=model.config.data.max_size,
        score_thresh=model.shown_from,
    )
    text = json.dumps(metadata.to_json())
    onnx = None
    with _quiet():
        with stage("trace the network"):
            program = _trace(module, options.batch, options.image_size)
        if options.kind == "onnx":
            with stage("translate it into ONNX"):
                onnx = torch.onnx.export(
                    program,
                    (),
                    dynamo=True,
                    input_names=["images", "image_sizes"],
                    output_names=module.outputs,
                    verbose=False,
                )
            assert onnx is not None
            _fold_reshaped_weights(onnx.model.graph)
            onnx.model.metadata_props[METADATA] = text
    try:
        with stage(f"write {file.name}"), _beside(file) as temporary:
            if onnx is not None:
                onnx.save(temporary, external_data=False)
            else:
                torch.export.save(program, temporary, extra_files={METADATA: text})
    except OSError as error:
        raise ResourceError(f"{file}: cannot be written ({error.strerror or error})") from error
    return metadata


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
        sides = {2 + i: STRIDE * torch.export.Dim(name, min=2, max=1024) for i, name in enumerate("hw")}
    with torch.no_grad():
        return torch.export.export(
            module, (images, sizes), dynamic_shapes={"images": {**free, **sides}, "image_sizes": free}
        )


def _fold_reshaped_weights(graph: Any) -> None:
    """Store weights in the shape that they are used in, which quantisation of ONNX Runtime asks for."""
    import onnx_ir as ir

    for node in list(graph):
        if node.op_type != "Reshape" or not all(value.is_initializer() for value in node.inputs):
            continue
        weight, shape = node.inputs
        values = weight.const_value.numpy().reshape(shape.const_value.numpy())
        stored = ir.Value(
            name=node.outputs[0].name,
            shape=ir.Shape(values.shape),
            type=ir.TensorType(weight.dtype),
            const_value=ir.tensor(values, name=node.outputs[0].name),
        )
        ir.convenience.replace_all_uses_with(node.outputs[0], stored)
        graph.remove(node, safe=True)
        graph.register_initializer(stored)
        for value in (weight, shape):
            if not value.uses():
                graph.initializers.pop(value.name, None)


def require(*packages: str) -> None:
    """Raise a `UsageError` that names the extra if one of its packages is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not installed; `pip install 'dprd-cli[export]'`")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks, which a user can do nothing about, from the terminal."""
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _EXPORTERS]
    loggers = [logging.getLogger(name) for name in dict.fromkeys((*_EXPORTERS, *known))]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[str]:
    """Give a temporary name in the file's folder; what is written there takes the file's place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
        temporary = Path(folder) / file.name
        yield str(temporary)
        os.replace(temporary, file)
