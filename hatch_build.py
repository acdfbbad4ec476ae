"""Build hook: the included checkpoints go into the wheel as files of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_CHECKPOINTS = "assets/*.safetensors"


class IncludedCheckpoints(BuildHookInterface[Any]):
    """Adds each `assets/*.safetensors` as a file of `dprd_cli/assets`.

    An editable install needs no copies: it finds the files in the checkout.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the files of the wheel that is about to be built."""
        for file in [] if version == "editable" else sorted(Path(self.root).glob(_CHECKPOINTS)):
            build_data["force_include"][str(file)] = f"dprd_cli/assets/{file.name}"
