"""Which weights are on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dprd_cli
from dprd_cli.runtime.environment import without_home


@dataclass(frozen=True, slots=True)
class Inventory:
    """Weights on a machine.

    Args:
        downloads: The folder of downloaded weights, from the home folder on; None where it cannot be told.
        weights: Names of the published weights that are there.
        demo: Whether the demo checkpoint is installed.
    """

    downloads: str | None
    weights: list[str]
    demo: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-serialisable containers."""
        return asdict(self)


def take_inventory() -> Inventory:
    """Look for weights; a broken installation of PyTorch has none, and is no error."""
    package = Path(dprd_cli.__file__).resolve().parent
    demo = any((place / "assets" / "demo.safetensors").is_file() for place in (package, package.parent))
    try:
        from dprd_cli.files.downloads import download_folder
        from dprd_cli.weights.zoo import ZOO

        folder = download_folder()
    except (
        Exception
    ):  # they need PyTorch and torchvision; `describe_environment` says what is wrong with them
        return Inventory(None, [], demo)
    here = [name for name, file in ZOO.items() if (folder / file.file_name).is_file()]
    return Inventory(without_home(folder), here, demo)
