"""Build hook: the demo checkpoint goes into the wheel as a file of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_CHECKPOINT = "assets/demo.safetensors"


class DemoCheckpoint(BuildHookInterface[Any]):
    """Adds `assets/demo.safetensors` as `dprd_cli/assets/demo.safetensors`, where it is.

    An editable install needs no copy: it finds the file in the checkout.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the files of the wheel that is about to be built."""
        file = Path(self.root) / _CHECKPOINT
        if version != "editable" and file.is_file():
            build_data["force_include"][str(file)] = f"dprd_cli/{_CHECKPOINT}"
