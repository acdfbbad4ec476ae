"""Which weights are on this machine."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dprd_cli.runtime.environment import without_home
from dprd_cli.weights.included import INCLUDED, included_file


@dataclass(frozen=True, slots=True)
class Inventory:
    """Weights on a machine.

    Args:
        downloads: The folder of downloaded weights, from the home folder on; None where it cannot be told.
        weights: Names of the published weights that are there.
        included: Names of the detectors that come along and are there.
    """

    downloads: str | None
    weights: list[str]
    included: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-serialisable containers."""
        return asdict(self)


def take_inventory() -> Inventory:
    """Look for weights; a broken installation of PyTorch has none, and is no error."""
    included = [name for name in INCLUDED if included_file(name)]
    try:
        from dprd_cli.files.downloads import download_folder
        from dprd_cli.weights.zoo import ZOO

        folder = download_folder()
    except (
        Exception
    ):  # they need PyTorch and torchvision; `describe_environment` says what is wrong with them
        return Inventory(None, [], included)
    here = [name for name, file in ZOO.items() if (folder / file.file_name).is_file()]
    return Inventory(without_home(folder), here, included)


def pretrained_backbones() -> frozenset[str]:
    """Return the backbones whose ImageNet weights are on this machine."""
    from dprd_cli.files.downloads import download_folder
    from dprd_cli.model.torchvision_backbones import IMAGENET_WEIGHTS
    from dprd_cli.weights.backbone_weights import imagenet_file

    folder = download_folder()
    return frozenset(name for name in IMAGENET_WEIGHTS if (folder / imagenet_file(name).file_name).is_file())


def backbone_in_file(spec: str) -> str | None:
    """Return the backbone that a file with torchvision's names is of; None where there is none to tell.

    Args:
        spec: What `--backbone-weights` takes.

    Raises:
        UserError: If it is a file that cannot be read.
    """
    from dprd_cli.weights.foreign import read_foreign

    if not spec or not Path(spec).is_file() or Path(spec).suffix == ".pkl":
        return None
    state = read_foreign(Path(spec))
    text = " ".join(state)
    if re.search(r"features\.18\.0\.weight\b", text):
        return "mobilenet_v2"
    blocks = len(set(re.findall(r"\blayer3\.(\d+)\.conv1\.weight\b", text)))
    if "layer1.0.conv3.weight" not in text:
        return {1: "r10", 2: "r18", 6: "r34"}.get(blocks)
    wide = next(state[name].shape[1] for name in state if name.endswith("layer1.0.conv2.weight")) == 8
    return "x101" if wide else {6: "r50", 23: "r101"}.get(blocks)
