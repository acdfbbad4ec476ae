"""Checkpoints: saved atomically, read without ever running code, and explained when they do not fit.

A checkpoint is a dict of tensors and plain containers, either in PyTorch's zip format (`.pt`) or, without
the optimizer, as safetensors with the rest as JSON in its metadata. It carries a checksum; older ones do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, cast

import torch
from torch import Tensor, nn

from dprd_cli.errors import UserError, is_out_of_memory
from dprd_cli.files.atomic import write_atomically
from dprd_cli.structures.sample import is_class_name
from dprd_cli.weights.checksum import (
    METADATA,
    CutError,
    fits_checksum,
    has_checksum,
    sum_safetensors,
    sum_zip,
)
from dprd_cli.weights.packing import pack, unpack
from dprd_cli.weights.pickle_machine import RefusedPickleError
from dprd_cli.weights.safe_checkpoint import InflatedError, read_torch

FORMAT = "dprd-checkpoint"
VERSION = 1
_REQUIRED = ("config", "class_names", "category_ids", "with_masks", "model", "step")
_MOST_VALUES = 1_000_000
_DEEPEST = 12
_LONGEST_TEXT = 2**16
_LARGEST_ID = 2**53  # the evaluators keep ids in floats
_BACKBONE_HINT = "backbone weights go to --backbone-weights"


class CheckpointData(TypedDict, total=False):
    """What a checkpoint file holds: tensors and plain containers.

    Attributes:
        config: The run's configuration, as JSON holds it.
        class_names: Name of each class index. [K]
        category_ids: Category id of each class index. [K]
        with_masks: Whether the detector has mask heads.
        model: The weights that are evaluated, by name.
        step: Optimiser steps done.
        trained: The weights that are trained, where `model` is their average.
        optimizer: Its state, as PyTorch keeps it.
        interval: Sum and number of each value in the next row of the log.
        best: The best score so far.
        score_thresh: Score from which detections are shown: that of the best F1 in the last evaluation.
        data: What identifies the images of each split, see `data.build.fingerprint`.
        precision: What `auto` stood for, `fp32` or `bf16`, by kind of device.
    """

    format: str
    version: int
    config: dict[str, Any]
    class_names: list[str]
    category_ids: list[int]
    with_masks: bool
    model: dict[str, Tensor]
    step: int
    trained: dict[str, Tensor]
    optimizer: dict[str, Any]
    interval: dict[str, tuple[Any, int]]
    best: float | None
    score_thresh: float | None
    data: dict[str, str]
    precision: dict[str, str]


def save_checkpoint(path: Path, payload: Mapping[str, Any], *, previous: Path | None = None) -> None:
    """Save a checkpoint atomically; see `write_atomically` for the arguments and what it raises.

    Args:
        path: The `.pt` file.
        payload: Tensors and plain containers: config (JSON), class_names, category_ids, with_masks, model,
            step, and for training optimizer, best, interval (sums of the next row of the log) and, where
            `model` is an average of weights, those that are trained.
        previous: Where the checkpoint that was there goes.
    """
    content = {"format": FORMAT, "version": VERSION, **payload}

    def write(file: BinaryIO) -> None:
        torch.save(content, file)
        sum_zip(file)

    write_atomically(path, write, previous=previous)


def read_checkpoint(path: Path) -> CheckpointData:
    """Read a `.pt` or `.safetensors` checkpoint onto the CPU; code in it is refused, never run.

    Raises:
        UserError: One line, if there is no such file, it is broken, damaged since it was written, holds code,
            or is something else.
    """
    content = _read(path)
    if not isinstance(content, dict) or not _is(content.get("format"), FORMAT):
        raise UserError(f"{path}: not a dprd checkpoint but {_describe(content)}; {_BACKBONE_HINT}")
    version = content.get("version")
    if not _is(version, VERSION):
        shown = version if type(version) is int and abs(version) < _LARGEST_ID else "unknown"
        raise UserError(f"{path}: checkpoint version {shown}; version {VERSION} expected")
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise UserError(f"{path}: the checkpoint is incomplete (no {', '.join(missing)})")
    wrong = [str(key) for key, value in content.items() if not _is_tree(value)]
    wrong = wrong or [key for key, right in _KINDS.items() if key in content and not right(content[key])]
    if not wrong and len(content["class_names"]) != len(content["category_ids"]):
        wrong = ["category_ids"]
    if wrong:
        raise UserError(f"{path}: the checkpoint is malformed ({', '.join(wrong)})")
    return cast(CheckpointData, content)


def _is(value: Any, expected: str | int) -> bool:
    """Whether a value is that one; a tensor in its place would be compared number by number."""
    return type(value) is type(expected) and bool(value == expected)


def _is_tree(content: Any) -> bool:
    """Whether a value is made of whole tensors, plain values and containers, and a walk over it soon ends.

    Containers that hold one another, or themselves, are few bytes in a file and no end in a message.
    """
    todo, left = [(content, 0)], _MOST_VALUES
    while todo:
        value, depth = todo.pop()
        if isinstance(value, dict | list | tuple):
            left -= len(value)
            if left < 0 or depth == _DEEPEST:
                return False
            if isinstance(value, dict):
                todo += [(key, depth + 1) for key in value]
            todo += [(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)]
        elif isinstance(value, str):
            if len(value) > _LONGEST_TEXT:
                return False
        elif not (value is None or isinstance(value, bool | int | float) or _is_plain(value)):
            return False
    return True


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(is_class_name, value))


def _are_ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        type(one) is int and abs(one) <= _LARGEST_ID for one in value
    )


def _are_tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and _is_plain(tensor) for name, tensor in value.items()
    )


#: What each part of a checkpoint has to be. A file from elsewhere may hold anything.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "config": lambda value: isinstance(value, dict),
    "class_names": lambda value: _are_names(value),
    "category_ids": lambda value: _are_ids(value),
    "with_masks": lambda value: isinstance(value, bool),
    "model": lambda value: _are_tensors(value),
    "trained": lambda value: _are_tensors(value),
    "step": lambda value: type(value) is int and 0 <= value <= _LARGEST_ID,
    "optimizer": lambda value: isinstance(value, dict),
    "precision": lambda value: (
        isinstance(value, dict)
        and all(isinstance(one, str) and one in ("fp32", "bf16") for one in value.values())
    ),
    "score_thresh": lambda value: value is None or (isinstance(value, float) and 0 <= value <= 1),
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a bare state dict (or one under `model` or `state_dict`) of a `.pt` or `.safetensors` file.

    Raises:
        UserError: One line, if there is no such file, it is broken, holds code, or holds no tensors.
    """
    content = _read(path)
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not content or not _are_tensors(content):
        raise UserError(f"{path}: not a state dict but {_describe(content)}; pass a file of named tensors")
    tensors: dict[str, Tensor] = content
    return tensors


def _is_plain(value: Any) -> bool:
    """Whether a value is a dense tensor of real numbers that are all really there."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_meta or value.is_complex())
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            head = file.read(9)
        is_summed = has_checksum(path)
    except OSError as error:
        raise UserError(f"{path}: cannot read the checkpoint ({error.strerror})") from error
    except CutError as error:
        raise _broken(path) from error
    with ThreadPoolExecutor(1) as aside:
        fits = aside.submit(fits_checksum, path) if is_summed else None
        is_safetensors = head[8:9] == b"{"
        content = _read_safetensors(path) if is_safetensors else _read_torch(path, head, is_summed=is_summed)
    if fits is not None and not fits.result():
        raise UserError(f"{path}: damaged: its checksum is that of another content; take another copy")
    return content


def _broken(path: Path) -> UserError:
    return UserError(f"{path}: not a checkpoint, or truncated; pass a .pt or .safetensors file of a run")


def _read_torch(path: Path, head: bytes, *, is_summed: bool) -> Any:
    # zip files without an end record (truncated) and files of other kinds
    if not head.startswith((b"PK", b"\x80")):
        raise _broken(path)
    try:
        return read_torch(path, check_numbers=not is_summed)
    except RefusedPickleError as error:
        raise UserError(f"{path}: contains pickled code; refused") from error
    except InflatedError as error:
        raise UserError(
            f"{path}: holds more than its size, as no checkpoint of PyTorch does; refused"
        ) from error
    except Exception as error:  # whatever a broken file leads to
        if is_out_of_memory(error):
            raise UserError(
                f"{path}: claims more memory than there is; broken, or not a checkpoint"
            ) from error
        raise _broken(path) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            model = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata.get("format") != FORMAT:
            return model
        return {"format": FORMAT, "model": unpack(model), **json.loads(metadata["content"])}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a safetensors checkpoint, or truncated") from error


def _describe(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a saved {type(content).__name__}"
    if content and all(isinstance(value, Tensor) for value in content.values()):
        odd = next((name for name, tensor in content.items() if not _is_plain(tensor)), None)
        if odd is not None:
            return f"tensors of which {odd} is sparse, quantized, complex or not all there"
        return f"a bare state dict of {len(content)} tensors (first: {next(iter(content))})"
    keys = ", ".join(str(key) for key in list(content)[:4])
    return f"a checkpoint of another program (keys: {keys})"


def export_safetensors(
    checkpoint: Mapping[str, Any],
    path: Path,
    provenance: Mapping[str, Any],
    *,
    packed: bool = False,
) -> None:
    """Write a checkpoint's model as safetensors, with the configuration and where it came from as metadata.

    Args:
        checkpoint: What `read_checkpoint` returned.
        path: The `.safetensors` file.
        provenance: What made it, such as command, commit and AP; plain JSON values.
        packed: Store matrices and filters in eight bits, see `weights/packing.py`.

    Raises:
        ResourceError: If it cannot be written.
    """
    from safetensors.torch import save

    model = pack(checkpoint["model"]) if packed else checkpoint["model"]
    kept = {
        key: checkpoint[key] for key in (*_REQUIRED, "score_thresh") if key in checkpoint and key != "model"
    }
    about = {"version": VERSION, **kept, "provenance": dict(provenance)}
    content = json.dumps(about, separators=(",", ":"))
    data = save(
        {name: tensor.contiguous().clone() for name, tensor in model.items()},
        metadata={"format": FORMAT, "content": content, **METADATA},
    )

    def write(file: BinaryIO) -> None:
        file.write(data)
        sum_safetensors(file)

    write_atomically(path, write)


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Load a state dict strictly.

    Raises:
        UserError: As `check_state`; or if a tensor is not finite.
    """
    check_state(module, state, source)
    bad = next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
    if bad is not None:
        raise UserError(f"{source}: {bad} is not finite (of a run that diverged?); take another file")
    module.load_state_dict(dict(state))


def check_state(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Check that a state dict is a module's, which may be on the `meta` device.

    Raises:
        UserError: One line that names the first keys or shapes that differ.
    """
    own = module.state_dict()
    differences = [f"no {key}" for key in own if key not in state]
    differences += [f"unexpected {key}" for key in state if key not in own]
    differences += [
        f"{key} is {list(state[key].shape)}, expected {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if differences:
        more = f" and {len(differences) - 2} more" if len(differences) > 2 else ""
        raise UserError(
            f"{source}: checkpoint of another model or class count ({'; '.join(differences[:2])}{more})"
        )
