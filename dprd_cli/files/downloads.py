"""Downloads into torch.hub's folder: checked, kept, and explained when they fail."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch

from dprd_cli.errors import ResourceError, UserError

_TIMEOUT = 30.0  # seconds without an answer


def download_folder() -> Path:
    """Return where downloads are kept (`TORCH_HOME` moves it)."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(url: str, file_name: str, sha256: str = "") -> Path:
    """Return a file's place on this machine, after downloading it if it is not there.

    A download is compared with `sha256`. Where the publisher gives none, the SHA-256 of the first download is
    kept beside the file, and later uses are compared with that.

    Args:
        url: Where the file is.
        file_name: Its name in the download folder.
        sha256: How its SHA-256 starts, hexadecimal, or empty.

    Raises:
        UserError: One line naming URL, file and folder, if it cannot be downloaded or is not the right file.
    """
    path = download_folder() / file_name
    if not path.is_file():
        _download(url, path, sha256)
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


def _download(url: str, path: Path, sha256: str) -> None:
    before = socket.getdefaulttimeout()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(_TIMEOUT)  # or a network that swallows packets would hang it for ever
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256 or None, progress=True)
        if path.suffix == ".pkl" and not _is_whole_pickle(path):
            path.unlink()
            raise OSError("the answer is not the file, or was cut short")
    except (URLError, OSError, RuntimeError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{path}: no space left for {url}; free some") from error
        reason = getattr(error, "reason", None) or " ".join(str(error).split())
        raise UserError(
            f"cannot download {url} ({reason}); put the file {path.name} into {path.parent}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _is_whole_pickle(path: Path) -> bool:
    """Whether a file starts and ends as a pickle does."""
    with path.open("rb") as file:
        first = file.read(1)
        file.seek(-1, os.SEEK_END)
        return first == b"\x80" and file.read(1) == b"."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
