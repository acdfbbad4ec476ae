"""A checksum over every byte of a checkpoint, kept in the file itself.

It is the SHA-256 of the SHA-256 sums of the file's blocks of 4 MiB, which threads compute side by side, with
zeros for its own 64 digits. A zip file (`.pt`) has it in its comment, a safetensors file in its metadata,
each with two marks, so that damage to one of them does not hide that there is a checksum. It tells damage,
not malice: whoever changes a file on purpose can write a new one.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from dprd_cli.files.system import read_at

_BLOCK = 2**22
_LONGEST_HEADER = 2**22
_EMPTY = b"0" * 64
_ZIP_MARKS = (b"dprd-checksum:", b":dprd-checked")  # before and after the digits
#: What the metadata of a safetensors file says.
METADATA = {"dprd_checksum": _EMPTY.decode(), "dprd_checked": "yes"}
_JSON_MARKS = (b'"dprd_checksum":"', b'"dprd_checked":"yes"')  # quotes in other values are escaped


_ZIP_END = 22  # bytes of the end record, of which the last two are the length of the comment


class CutError(Exception):
    """A file that ends before its checksum does."""


def sum_zip(file: BinaryIO) -> None:
    """Complete a zip file, as PyTorch writes it, by a comment with its checksum.

    Args:
        file: Open for writing, at its end.
    """
    comment = _EMPTY.join(_ZIP_MARKS)
    file.seek(-2, os.SEEK_END)  # the length of the comment, which is still empty
    file.write(len(comment).to_bytes(2, "little") + comment)
    _write_digits(file)


def sum_safetensors(file: BinaryIO) -> None:
    """Write the checksum of a safetensors file over that in `METADATA`.

    Args:
        file: Open for writing, at its end.
    """
    _write_digits(file)


def _write_digits(file: BinaryIO) -> None:
    file.flush()
    with open(file.name, "rb") as whole:
        place = _find(whole)
        assert place is not None
        digits = _digits(whole, place)
    file.seek(place)
    file.write(digits)


def has_checksum(path: Path) -> bool:
    """Whether a file says that it has a checksum.

    Raises:
        CutError: If it ends before that does.
    """
    with path.open("rb") as file:
        return _find(file) is not None


def fits_checksum(path: Path) -> bool:
    """Whether a file's checksum is that of its content; not if it has none."""
    with path.open("rb") as file:
        place = _find(file)
        return place is not None and read_at(file.fileno(), len(_EMPTY), place) == _digits(file, place)


def _find(file: BinaryIO) -> int | None:
    """Return where the digits are; 0, where no digits can be, if a mark says that there are some."""
    file.seek(0)
    head = file.read(8)
    if head[:2] == b"PK":
        return _find_in_zip(file)
    header = file.read(min(int.from_bytes(head, "little"), _LONGEST_HEADER))
    first, second = (header.find(mark) for mark in _JSON_MARKS)
    if first < 0:
        return None if second < 0 else 0
    return 8 + first + len(_JSON_MARKS[0])


def _find_in_zip(file: BinaryIO) -> int | None:
    before, after = _ZIP_MARKS
    length = len(before) + len(_EMPTY) + len(after)
    size = file.seek(0, os.SEEK_END)
    tail = read_at(file.fileno(), _ZIP_END + length, max(0, size - _ZIP_END - length))
    end = tail.rfind(b"PK\5\6")
    comment = tail[end + _ZIP_END :] if end >= 0 else tail[-length:]
    if end >= 0 and len(comment) < int.from_bytes(tail[end + 20 : end + 22], "little"):
        raise CutError
    return size - len(after) - len(_EMPTY) if comment.startswith(before) or comment.endswith(after) else None


def _digits(file: BinaryIO, place: int) -> bytes:
    """Return the checksum of a file whose digits are at `place`."""
    size = file.seek(0, os.SEEK_END)

    def block(start: int) -> bytes:
        data = read_at(file.fileno(), _BLOCK, start)
        first, last = max(place - start, 0), min(place + len(_EMPTY) - start, len(data))
        if first < last:
            data = data[:first] + b"0" * (last - first) + data[last:]
        return hashlib.sha256(data).digest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        sums = b"".join(threads.map(block, range(0, size, _BLOCK)))
    return hashlib.sha256(sums).hexdigest().encode()
