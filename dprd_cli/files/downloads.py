"""Downloads into torch.hub's folder: checked, kept, and explained when they fail."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch

from dprd_cli.errors import ResourceError, UserError

#: Called with (bytes so far, bytes in all, 0 where the server does not say).
Received = Callable[[int, int], object]

_TIMEOUT = 30.0  # seconds without an answer
_CHUNK = 2**18  # bytes


def download_folder() -> Path:
    """Return where downloads are kept (`TORCH_HOME` moves it)."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(url: str, file_name: str, sha256: str = "", received: Received | None = None) -> Path:
    """Return a file's place on this machine, after downloading it if it is not there.

    A download is compared with `sha256`. Where the publisher gives none, the SHA-256 of the first download is
    kept beside the file, and later uses are compared with that.

    Args:
        url: Where the file is.
        file_name: Its name in the download folder.
        sha256: How its SHA-256 starts, hexadecimal, or empty.
        received: Told how far a download is.

    Raises:
        UserError: One line naming URL, file and folder, if it cannot be downloaded or is not the right file.
    """
    path = download_folder() / file_name
    if not path.is_file():
        _download(url, path, sha256, received or (lambda _so_far, _all: None))
    note = path.with_name(f"{file_name}.sha256")
    found = _sha256(path)
    expected = sha256 or (note.read_text("ascii", errors="replace").strip() if note.is_file() else "")
    if not found.startswith(expected):
        raise UserError(
            f"{path}: its SHA-256 is {found[:16]}..., expected {expected[:16]}...; "
            f"delete it to download it again from {url}"
        )
    if not sha256 and not note.exists():
        with contextlib.suppress(OSError):  # a shared folder may be read-only
            note.write_text(f"{found}\n", encoding="ascii")
    return path


def _download(url: str, path: Path, sha256: str, received: Received) -> None:
    before = socket.getdefaulttimeout()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(_TIMEOUT)  # or a network that swallows packets would hang it for ever
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            _receive(url, partial, received)
            _check_received(partial, path.suffix, sha256)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except (URLError, OSError, ValueError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{path}: no space left for {url}; free some") from error
        reason = getattr(error, "reason", None) or " ".join(str(error).split())
        raise UserError(
            f"cannot download {url} ({reason}); put the file {path.name} into {path.parent}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _receive(url: str, path: Path, received: Received) -> None:
    with urlopen(Request(url, headers={"User-Agent": "dprd"})) as answer, path.open("wb") as file:
        stated, so_far = int(answer.headers.get("Content-Length") or 0), 0
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            so_far += len(chunk)
            received(so_far, stated)
    if so_far < stated:
        raise OSError(f"only {so_far} of {stated} bytes came")


def _check_received(path: Path, suffix: str, sha256: str) -> None:
    """Check what was downloaded.

    Raises:
        OSError: If it is not the file.
    """
    found = _sha256(path)
    if not found.startswith(sha256):
        raise OSError(f'invalid hash value (expected "{sha256}", got "{found}")')
    if suffix == ".pkl" and not _is_whole_pickle(path):
        raise OSError("the answer is not the file, or was cut short")


def _is_whole_pickle(path: Path) -> bool:
    """Whether a file starts and ends as a pickle does."""
    with path.open("rb") as file:
        first = file.read(1)
        file.seek(-1, os.SEEK_END)
        return first == b"\x80" and file.read(1) == b"."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
