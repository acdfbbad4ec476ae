"""Reads PyTorch's files, zipped and older ones, without calling anything that they name.

A tensor is made of a storage that the file holds, and all tensors together take no more than twice the file's
size: neither a stride of 0 nor a storage that is named many times makes more of them.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from dprd_cli.weights.pickle_machine import (
    BrokenPickleError,
    Dialect,
    GlobalName,
    PickleMachine,
    Unfinished,
    ordered_dict,
)

_TYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_MAGIC = 0x1950A86A20F9469CFC6C  # of files before the zipped ones
_PROTOCOL = 1001
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class InflatedError(Exception):
    """A zip file whose entries are larger than the file: compressed, or one inside the other."""


@dataclass(slots=True)
class _Storage(Unfinished):
    """A storage of a file.

    Args:
        flat: Its numbers. [n]
    """

    flat: Tensor


def read_torch(path: Path, *, check_numbers: bool = True) -> Any:
    """Return what a file of `torch.save` holds: tensors on the CPU, and plain containers.

    Ordered dicts come as dicts; attributes of containers and whether tensors require gradients are left out.

    Args:
        path: The file.
        check_numbers: Compare the numbers with the zip's own checksums.

    Raises:
        OSError: If it cannot be read.
        RefusedPickleError: If it names anything but tensors and plain containers.
        InflatedError: If it claims to hold more than its size.
        Exception: Whatever broken bytes lead to.
    """
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            return _Archive(file, check_numbers=check_numbers).read()
        file.seek(0)
        return _OldFile(file.read()).read()


def _tensor(machine: PickleMachine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Return a view of a storage; where it would reach out of that, torch says so."""
    if type(storage) is not _Storage or type(size) is not tuple or type(stride) is not tuple:
        raise BrokenPickleError
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise BrokenPickleError
    tensor = torch.as_strided(storage.flat, size, stride, offset)
    if not any(side > 1 and step == 0 for side, step in zip(size, stride, strict=True)):
        machine.spend(tensor.numel() * tensor.element_size())
    return tensor


def _parameter(_: PickleMachine, tensor: Any, *__: Any) -> Tensor:
    if type(tensor) is not Tensor:
        raise BrokenPickleError
    return tensor


def _size(_: PickleMachine, size: Any) -> tuple[Any, ...]:
    if type(size) is not tuple:
        raise BrokenPickleError
    return size


_CALLS = {
    **dict.fromkeys(_TYPES),
    "collections.OrderedDict": ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
}


class _Archive:
    """A zipped file.

    Args:
        file: At any place.
        check_numbers: Compare the numbers with the zip's checksums.

    Raises:
        InflatedError: If its entries claim more than the file's size.
    """

    def __init__(self, file: BinaryIO, *, check_numbers: bool) -> None:
        self._file, self._zip, self._check_numbers = file, zipfile.ZipFile(file), check_numbers
        self._size = file.seek(0, io.SEEK_END)
        entries = self._zip.infolist()
        if sum(entry.file_size for entry in entries) > self._size:
            raise InflatedError
        self._entries = {entry.filename: entry for entry in entries}
        roots = [found[1] for name in self._entries if (found := re.fullmatch(r"([^/]*/)data\.pkl", name))]
        (self._root,) = roots
        self._storages: dict[str, _Storage] = {}

    def read(self) -> Any:
        """Return what the file holds."""
        order = self._root + "byteorder"
        if order in self._entries and self._zip.read(order) != b"little":
            raise BrokenPickleError
        data = self._zip.read(self._root + "data.pkl")
        dialect = Dialect(_CALLS, self._load, drops_state=True)
        return PickleMachine(io.BytesIO(data), len(data), dialect, budget=2 * self._size).run()

    def _load(self, ident: Any) -> _Storage:
        kind, storage_type, key, _, count = ident
        dtype = _dtype(kind, storage_type)
        if key not in self._storages:
            self._storages[key] = _Storage(self._read_numbers(f"{self._root}data/{key}", dtype, count))
        found = self._storages[key]
        if found.flat.dtype != dtype or len(found.flat) != count:
            raise BrokenPickleError
        return found

    def _read_numbers(self, name: str, dtype: torch.dtype, count: Any) -> Tensor:
        """Read an entry straight into a tensor, and compare it with the zip's own checksum."""
        entry = self._entries[name]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise InflatedError
        if type(count) is not int or entry.file_size != count * dtype.itemsize:
            raise BrokenPickleError
        self._file.seek(entry.header_offset)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        if signature != b"PK\3\4":
            raise BrokenPickleError
        self._file.seek(name_length + extra_length, io.SEEK_CUR)
        flat = torch.empty(count, dtype=dtype)
        _fill(self._file, flat)
        if self._check_numbers and zlib.crc32(_bytes(flat)) != entry.CRC:
            raise BrokenPickleError
        return flat


def _dtype(kind: Any, storage_type: Any) -> torch.dtype:
    if kind != "storage" or type(storage_type) is not GlobalName:
        raise BrokenPickleError
    return _TYPES[storage_type.text]


def _bytes(flat: Tensor) -> memoryview:
    return flat.view(torch.uint8).numpy().data


def _fill(file: BinaryIO | io.BytesIO, flat: Tensor) -> None:
    if file.readinto(_bytes(flat)) != flat.numel() * flat.element_size():  # type: ignore[union-attr]
        raise BrokenPickleError


class _OldFile:
    """A file of PyTorch before 1.6: pickles one after the other, then the numbers of each storage.

    Args:
        data: The file.
    """

    def __init__(self, data: bytes) -> None:
        self._file, self._size = io.BytesIO(data), len(data)
        self._storages: dict[str, _Storage] = {}
        self._claimed = 0

    def read(self) -> Any:
        """Return what the file holds."""
        plain = Dialect({})
        if self._run(plain) != _MAGIC or self._run(plain) != _PROTOCOL:
            raise BrokenPickleError
        if self._run(plain).get("little_endian") is not True:
            raise BrokenPickleError
        content = self._run(Dialect(_CALLS, self._load, drops_state=True))
        keys = self._run(plain)
        if sorted(keys) != sorted(self._storages):
            raise BrokenPickleError
        for key in keys:
            flat = self._storages[key].flat
            if int.from_bytes(self._file.read(8), "little") != len(flat):
                raise BrokenPickleError
            _fill(self._file, flat)
        return content

    def _run(self, dialect: Dialect) -> Any:
        return PickleMachine(self._file, self._size, dialect, budget=2 * self._size).run()

    def _load(self, ident: Any) -> _Storage:
        kind, storage_type, key, _, count, view = ident
        dtype = _dtype(kind, storage_type)
        if key not in self._storages:
            if type(count) is not int or not 0 <= count * dtype.itemsize <= self._size - self._claimed:
                raise BrokenPickleError
            self._claimed += count * dtype.itemsize
            self._storages[key] = _Storage(torch.empty(count, dtype=dtype))
        found = self._storages[key]
        if found.flat.dtype != dtype:
            raise BrokenPickleError
        if view is None:
            return found
        _, first, length = view
        return _Storage(found.flat.narrow(0, first, length))
