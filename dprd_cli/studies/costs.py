"""What a study's variants cost, measured on this machine: Table 2's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dprd_cli.benchmark.costs import count_costs, measure_inference
from dprd_cli.config.schema import Config
from dprd_cli.data.build import build_dataset
from dprd_cli.errors import DataError
from dprd_cli.files.atomic import read_json, write_json
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.progress import say
from dprd_cli.studies.plan import StudyPlan
from dprd_cli.studies.study import COSTS, Study
from dprd_cli.studies.summary import StudySummary

COSTS_FILE = "costs.json"


@dataclass(frozen=True, slots=True)
class VariantCosts:
    """What a variant's inference of one image costs, and what that was measured of.

    Attributes:
        parameters: Parameters, in millions.
        macs: Multiply-accumulates, in billions.
        image_size: (height, width) of the image.
        num_classes: K.
        device: Where memory and speed were measured.
        memory: Peak memory, MiB.
        fps: Images a second.
    """

    parameters: float
    macs: float
    image_size: tuple[int, int]
    num_classes: int
    device: str
    memory: float
    fps: float

    @property
    def columns(self) -> dict[str, float]:
        """Its numbers by the names of Table 2's columns."""
        return {name: getattr(self, name) for name in COSTS}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "image_size": list(self.image_size)}


@dataclass(frozen=True, slots=True)
class StudyCosts:
    """What a study's variants cost.

    Attributes:
        study: With its backbones.
        folder: Where its tables lie.
        variants: Key of a variant -> its costs; at least one.
    """

    study: Study
    folder: Path
    variants: Mapping[str, VariantCosts]

    @property
    def summary(self) -> StudySummary:
        """The study with nothing but costs, for its table."""
        columns = {key: costs.columns for key, costs in self.variants.items()}
        return StudySummary(replace(self.study, columns=COSTS), (), columns)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "study": self.study.name,
            "costs": {key: costs.to_json() for key, costs in self.variants.items()},
        }


def image_size(config: Config) -> tuple[int, int]:
    """Return the (height, width) that costs are of: a square of the short side at test."""
    return config.data.test_min_size, config.data.test_min_size


def classes_of(config: Config) -> int:
    """Return K of a run's data.

    Raises:
        DataError: If the data cannot be used.
    """
    return len(build_dataset(config.data, "val").class_names)


def read_costs(folder: Path) -> dict[str, VariantCosts]:
    """Return what `measure_costs` wrote into a study's folder, by variant; nothing if it did not.

    Raises:
        DataError: If the file is broken.
    """
    path = folder / COSTS_FILE
    if not path.is_file():
        return {}
    try:
        return {
            key: VariantCosts(**{**row, "image_size": tuple(row["image_size"])})
            for key, row in read_json(path, "costs").items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no costs of a study; remove the file, and they are measured") from error


def measure_costs(plan: StudyPlan, num_classes: int, *, anew: bool = False) -> dict[str, VariantCosts]:
    """Measure each variant's inference on this device, and write `costs.json` after each.

    What was measured before is kept if it is of the same network (by its counts), image size and device.

    Args:
        plan: The study's runs.
        num_classes: K.
        anew: Measure all of them again.

    Returns:
        Key of a variant -> its costs.
    """
    known = read_costs(plan.folder)
    found: dict[str, VariantCosts] = {}
    plan.folder.mkdir(parents=True, exist_ok=True)
    for key, jobs in plan.by_variant().items():
        found[key] = _measure(key, jobs[0].config, num_classes, None if anew else known.get(key))
        rows = {**known, **found}
        write_json(plan.folder / COSTS_FILE, {name: costs.to_json() for name, costs in rows.items()})
    return found


def _measure(key: str, config: Config, num_classes: int, known: VariantCosts | None) -> VariantCosts:
    size, device = image_size(config), config.train.device
    counts = asdict(count_costs(config, num_classes, size))
    name = _device_name(device)
    if known is not None:
        same = replace(known, **counts, image_size=size, num_classes=num_classes, device=name)
        if same == known:
            return known
    say(f"measuring {key}: one image of {size[0]}x{size[1]} on {name}")
    measured = asdict(measure_inference(config, num_classes, size, device))
    return VariantCosts(**counts, image_size=size, num_classes=num_classes, device=name, **measured)


def _device_name(device: str) -> str:
    place = pick_device(device)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"
