"""What the numbers of a benchmark depend on."""

from __future__ import annotations

import datetime
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from dprd_cli.ops.processor import processor_fields

_PACKAGES = ("torch", "torchvision", "detectron2", "numpy", "pycocotools", "faster-coco-eval")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when something was measured.

    Args:
        date: Year, month and day, UTC.
        processor: The processor's model, or what the system says of it.
        device: The GPU's model, or `cpu`.
        threads: PyTorch's threads within an operation.
        system: Operating system and processor family.
        python: Version.
        versions: Package -> version, of those that are installed.
    """

    date: str
    processor: str
    device: str
    threads: int
    system: str
    python: str
    versions: dict[str, str]

    @property
    def software(self) -> str:
        """Threads and versions, in a line."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.threads} threads, Python {self.python}, {versions}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def describe_machine(device: torch.device) -> Machine:
    """Return what is measured on now.

    Args:
        device: Where the networks run.
    """
    return Machine(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        processor=processor_fields().get("model name", ""),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: number for name in _PACKAGES if (number := _version(name))},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
