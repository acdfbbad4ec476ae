"""Keys that were called otherwise once: saved configurations and command lines may still say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Old dotted key -> its name now.
RENAMED = {"data.check_pictures": "data.check_images"}


def rename_keys(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict of configuration values with the names of now; of both, the new one wins."""
    renamed: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            renamed[name] = rename_keys(value, f"{key}.")
        elif key in RENAMED:
            renamed.setdefault(RENAMED[key].rpartition(".")[2], value)
        else:
            renamed[name] = value
    return renamed
