"""Published files on this machine: downloaded where they are not, while a bar shows how far that is."""

from __future__ import annotations

from pathlib import Path

from dprd_cli.files.downloads import fetch
from dprd_cli.runtime.progress import progress

_MB = 10**6


def fetch_file(url: str, file_name: str, sha256: str = "") -> Path:
    """Return where a file is on this machine; see `files.downloads.fetch`."""
    with progress(f"download {file_name}", "MB") as show:
        return fetch(url, file_name, sha256, lambda so_far, stated: show(so_far // _MB, stated // _MB))
