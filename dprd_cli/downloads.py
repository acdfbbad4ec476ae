"""Downloads into torch.hub's folder: checked, kept, and explained when they fail."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from urllib.error import URLError

import torch

from dprd_cli.errors import UserError

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
    expected = sha256 or (note.read_text(encoding="ascii").strip() if note.is_file() else "")
    if not found.startswith(expected):
        raise UserError(
            f"{path}: its SHA-256 is {found[:16]}..., expected {expected[:16]}...; "
            f"delete it to download it again from {url}"
        )
    if not sha256 and not note.is_file():
        note.write_text(f"{found}\n", encoding="ascii")
    return path


def _download(url: str, path: Path, sha256: str) -> None:
    before = socket.getdefaulttimeout()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(_TIMEOUT)  # or a network that swallows packets would hang it for ever
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256 or None, progress=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or " ".join(str(error).split())
        raise UserError(
            f"cannot download {url} ({reason}); put the file {path.name} into {path.parent}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
