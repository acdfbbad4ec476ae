"""Studies without training: given checkpoints beside published rows, or with other settings at test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import merge, nest, validate
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.errors import UsageError
from dprd_cli.evaluation.evaluate import EvaluationOptions, evaluate
from dprd_cli.files.atomic import read_json, write_json
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.progress import progress
from dprd_cli.structures.sample import Dataset
from dprd_cli.studies.plan import Checkpoint, on_backbones
from dprd_cli.studies.study import Study, Variant
from dprd_cli.studies.summary import Run, flat_results
from dprd_cli.training.logging import say
from dprd_cli.weights.load import LoadedModel, load_model

#: Settings that a trained network can be measured with although it was trained with others.
TEST_KEYS = frozenset(
    ("model.parts.sigma", "model.parts.refeed", "model.parts.level", "model.cascade.average_masks")
)
_NOTE = (
    "Measured at test only: each network keeps the weights that it was trained to with its own setting. The "
    "study proper trains one for each row."
)


@dataclass(frozen=True, slots=True)
class Measuring:
    """How checkpoints are measured.

    Attributes:
        data: A checkpoint's configuration -> that with the data asked for.
        device: `auto`, `cpu` or `cuda`.
        limit: Only the first so many images; 0 takes all.
        tta: Multi-scale testing.
    """

    data: Callable[[Config], Config]
    device: str = "auto"
    limit: int = 0
    tta: bool = False


def check_measurable(study: Study) -> None:
    """Check that a study can be made of given checkpoints.

    Raises:
        UsageError: If its rows are networks that are trained differently.
    """
    presets = {variant.preset for variant in study.variants}
    keys = {key for variant in study.variants for key in variant.changes}
    if study.published or (len(presets) == 1 and keys <= TEST_KEYS):
        return
    raise UsageError(
        f"--weights: the rows of {study.name} are networks that are trained differently; leave --weights "
        "out, and they are trained"
    )


def measure_checkpoints(
    study: Study, checkpoints: Sequence[Checkpoint], folder: Path, how: Measuring
) -> tuple[Study, list[Run]]:
    """Measure given checkpoints; what was measured before is read.

    Args:
        study: With published rows: each checkpoint is a row of its own. Else each of its variants is
            measured with each checkpoint, which count as its seeds, backbone by backbone.
        checkpoints: What is measured.
        folder: Each measurement becomes a JSON file in it.
        how: Data and device.

    Returns:
        The study with the rows that were measured, and the measurements.

    Raises:
        UserError: If a checkpoint or the data cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, Variant, int, Path, dict[str, float]]] = []
    for number, checkpoint in enumerate(checkpoints):
        model = load_model(checkpoint.spec, how.device)
        _check_parts(study, checkpoint, model)
        config = how.data(model.config)
        dataset: Dataset | None = None
        backbone = model.config.model.backbone.name
        for variant in study.variants or (_row(checkpoint, model),):
            path = folder / f"{checkpoint.name}{f'-{variant.key}' if study.variants else ''}.json"
            found = _before(path, variant, model, config, how)
            if found is None:
                dataset = dataset or _dataset(model, config)
                found = _measure(variant, model, config, dataset, how)
                write_json(path, found)
            else:
                say(f"{path}: measured before")
            rows.append((backbone, variant, number, path, flat_results(found)))
    return _with_rows(study, rows)


def _with_rows(
    study: Study, rows: Sequence[tuple[str, Variant, int, Path, dict[str, float]]]
) -> tuple[Study, list[Run]]:
    if not study.variants:
        variants = tuple(variant for _, variant, *_ in rows)
        return (
            replace(study, variants=variants),
            [Run(variant.key, number, path, found) for _, variant, number, path, found in rows],
        )
    backbones = list(dict.fromkeys(backbone for backbone, *_ in rows))
    several = len(backbones) > 1
    runs = [
        Run(variant.key + (f"-{backbone}" if several else ""), number, path, found)
        for backbone, variant, number, path, found in rows
    ]
    retrained = any(variant.changes for variant in study.variants)
    note = f"{study.note} {_NOTE}".strip() if retrained else study.note
    return replace(on_backbones(study, backbones), note=note, same_networks=True), runs


def _row(checkpoint: Checkpoint, model: LoadedModel) -> Variant:
    config = model.config
    overrides = {"model.backbone.name": config.model.backbone.name}
    return Variant(checkpoint.name, checkpoint.name, config.preset, overrides)


def _check_parts(study: Study, checkpoint: Checkpoint, model: LoadedModel) -> None:
    needs = any(key.startswith("model.parts.") for variant in study.variants for key in variant.changes)
    needs |= any(variant.part_offsets != "learned" for variant in study.variants)
    if needs and model.config.model.parts.mode != "deformable":
        raise UsageError(
            f"--weights {checkpoint.name}: {model.source} has no deformable parts "
            f"(model.parts.mode={model.config.model.parts.mode}), which {study.name} is about"
        )


def _dataset(model: LoadedModel, config: Config) -> Dataset:
    dataset = build_dataset(
        config.data, "val", class_names=model.class_names, category_ids=model.category_ids
    )
    for line in describe(dataset):
        say(line)
    return dataset


def _identity(variant: Variant, model: LoadedModel, config: Config, how: Measuring) -> dict[str, Any]:
    """Return what a measurement is of: the same again need not be measured."""
    file = model.source.stat()
    return {
        "checkpoint": str(model.source),
        "bytes": file.st_size,
        "modified": file.st_mtime,
        "part_offsets": variant.part_offsets,
        "set": _at_test(variant),
        "data_section": config.data.model_dump(mode="json", exclude={"workers", "check_images"}),
        "limit": how.limit,
        "tta": how.tta,
    }


def _before(
    path: Path, variant: Variant, model: LoadedModel, config: Config, how: Measuring
) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    content = read_json(path, "measurement")
    same = content.get("measured") == _identity(variant, model, config, how)
    return content if same else None


def _at_test(variant: Variant) -> dict[str, Any]:
    return {key: value for key, value in variant.overrides.items() if key in TEST_KEYS}


def _measure(
    variant: Variant, model: LoadedModel, config: Config, dataset: Dataset, how: Measuring
) -> dict[str, Any]:
    changed = _at_test(variant)
    settings = "".join(f", {key} = {value}" for key, value in changed.items())
    say(f"{model.source} (step {model.step}){settings}, {variant.part_offsets} part offsets")
    device = pick_device(how.device)
    with progress("evaluate") as update:
        found = evaluate(
            _with_settings(model, changed, device),
            dataset,
            config,
            EvaluationOptions(
                limit=how.limit,
                part_offsets=variant.part_offsets,
                tta=how.tta,
                masks=model.with_masks,
                progress=update,
            ),
        )
    return {
        "measured": _identity(variant, model, config, how),
        "step": model.step,
        **found.to_json(),
    }


def _with_settings(model: LoadedModel, changed: Mapping[str, Any], device: torch.device) -> Detector:
    """Return the network with other settings and the same weights."""
    if not changed:
        return model.detector
    tree = model.config.model_dump(mode="json")
    for key, value in changed.items():
        merge(tree, nest(key, value))
    detector = build_detector(
        validate(tree).model, num_classes=len(model.class_names), with_masks=model.with_masks
    )
    detector.load_state_dict(model.detector.state_dict())
    return detector.to(device).to(memory_format=torch.channels_last).eval()
