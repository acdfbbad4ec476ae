"""The user's folder for what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Return the folder for what can be made again: `XDG_CACHE_HOME`, by default `~/.cache`, and `dprd`.

    Returns:
        None for a user without a home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dprd"
    except RuntimeError:
        return None
