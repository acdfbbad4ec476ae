"""Studies without training: given checkpoints beside published rows, or with other settings at test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dprd_cli.config.tree import merge, nest, validate
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.errors import UsageError
from dprd_cli.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from dprd_cli.files.atomic import read_json, write_json
from dprd_cli.model.build import build_detector
from dprd_cli.model.detector import Detector
from dprd_cli.runtime.device import pick_device
from dprd_cli.runtime.progress import progress, say
from dprd_cli.structures.sample import Dataset
from dprd_cli.studies.plan import on_backbones
from dprd_cli.studies.study import Study, Variant
from dprd_cli.studies.summary import StudyRun, StudySummary, flat_results
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
class StudyCheckpoint:
    """A detector that a study measures.

    Attributes:
        name: Its name in tables and files.
        spec: What `dprd eval --weights` takes.
    """

    name: str
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStudyOptions:
    """How checkpoints are measured.

    Attributes:
        data: Folder of the data, or `synthetic`; each checkpoint's own by default.
        on_bad_image: `error` or `skip`; the checkpoint's by default.
        overrides: `data.KEY=VALUE` pairs.
        device: `auto`, `cpu` or `cuda`.
        limit: Only the first so many images; 0 takes all.
        tta: Multi-scale testing.
    """

    data: str | None = None
    on_bad_image: str | None = None
    overrides: Sequence[str] = ()
    device: str = "auto"
    limit: int = 0
    tta: bool = False


@dataclass(frozen=True, slots=True)
class MeasurementKey:
    """What a measurement is of: the same again need not be measured.

    Attributes:
        checkpoint: The file.
        bytes: Its size.
        modified: When it was written.
        part_offsets: Part offsets at test.
        set: Dotted config key -> value that it was measured with instead of its own.
        data_section: The data, without what changes no number.
        limit: Only the first so many images; 0 takes all.
        tta: Multi-scale testing.
    """

    checkpoint: str
    bytes: int
    modified: float
    part_offsets: str
    set: dict[str, Any]
    data_section: dict[str, Any]
    limit: int
    tta: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Measurement:
    """One checkpoint measured as one row of a study."""

    backbone: str
    variant: Variant
    number: int
    path: Path
    metrics: dict[str, float]

    def run(self, *, named: bool) -> StudyRun:
        """Return it as the run of its row, whose key has the backbone's name in it if `named`."""
        key = self.variant.key + (f"-{self.backbone}" if named else "")
        return StudyRun(key, self.number, self.path, self.metrics)


def parse_checkpoints(words: Sequence[str]) -> list[StudyCheckpoint]:
    """Return the checkpoints of `--weights`: `NAME=RUN`, or a run folder, file or published name alone.

    Raises:
        UsageError: If a name is used twice, or cannot name a file.
    """
    found: dict[str, StudyCheckpoint] = {}
    for word in words:
        name, sign, spec = word.partition("=")
        if not sign or Path(word).exists():
            path = Path(word)
            name, spec = (path.parent.name or path.stem) if path.suffix == ".pt" else path.name, word
        if not name or not spec or "/" in name or name in (".", ".."):
            raise UsageError(f"--weights {word}: expected NAME=RUN, such as --weights mine=runs/mine")
        if name in found:
            raise UsageError(f"--weights {word}: the name {name} is taken; give another, as in NAME=RUN")
        found[name] = StudyCheckpoint(name, spec)
    return list(found.values())


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
    study: Study, checkpoints: Sequence[StudyCheckpoint], folder: Path, options: CheckpointStudyOptions
) -> StudySummary:
    """Measure given checkpoints; what was measured before is read.

    Args:
        study: With published rows: each checkpoint is a row of its own. Else each of its variants is
            measured with each checkpoint, which count as its seeds, backbone by backbone.
        checkpoints: What is measured; at least one.
        folder: Each measurement becomes a JSON file in it.
        options: Data and device.

    Returns:
        The study with the rows that were measured, and the measurements.

    Raises:
        UserError: If a checkpoint or the data cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measurements: list[_Measurement] = []
    for number, checkpoint in enumerate(checkpoints):
        model = load_model(checkpoint.spec, options.device)
        _check_parts(study, checkpoint, model)
        model = model.with_data(options.data, options.on_bad_image, options.overrides)
        dataset: Dataset | None = None
        backbone = model.config.model.backbone.name
        for variant in study.variants or (_row(checkpoint, model),):
            path = folder / f"{checkpoint.name}{f'-{variant.key}' if study.variants else ''}.json"
            key = _key(variant, model, options)
            content = _before(path, key)
            if content is None:
                dataset = dataset or _dataset(model)
                evaluation = _measure(variant, model, dataset, options)
                content = {"measured": key.to_json(), "step": model.step, **evaluation.to_json()}
                write_json(path, content)
            else:
                say(f"{path}: measured before")
            metrics = flat_results(content)
            measurements.append(_Measurement(backbone, variant, number, path, metrics))
    settings = {
        "weights": {one.name: one.spec for one in checkpoints},
        "limit": options.limit,
        "tta": options.tta,
    }
    return _summary(study, measurements, settings)


def _summary(study: Study, measurements: Sequence[_Measurement], settings: Mapping[str, Any]) -> StudySummary:
    if not study.variants:
        rows = replace(study, variants=tuple(one.variant for one in measurements))
        return StudySummary(rows, [one.run(named=False) for one in measurements], settings=settings)
    backbones = list(dict.fromkeys(one.backbone for one in measurements))
    runs = [one.run(named=len(backbones) > 1) for one in measurements]
    retrained = any(variant.changes for variant in study.variants)
    note = f"{study.note} {_NOTE}".strip() if retrained else study.note
    measured = replace(on_backbones(study, backbones), note=note, same_networks=True)
    return StudySummary(measured, runs, settings=settings)


def _row(checkpoint: StudyCheckpoint, model: LoadedModel) -> Variant:
    config = model.config
    overrides = {"model.backbone.name": config.model.backbone.name}
    return Variant(checkpoint.name, checkpoint.name, config.preset, overrides)


def _check_parts(study: Study, checkpoint: StudyCheckpoint, model: LoadedModel) -> None:
    needs = any(key.startswith("model.parts.") for variant in study.variants for key in variant.changes)
    needs |= any(variant.part_offsets != "learned" for variant in study.variants)
    if needs and model.detector.part_layer is None:
        raise UsageError(
            f"--weights {checkpoint.name}: {model.source} has no deformable parts "
            f"(model.parts.mode={model.config.model.parts.mode}), which {study.name} is about"
        )


def _dataset(model: LoadedModel) -> Dataset:
    dataset = build_dataset(
        model.config.data, "val", class_names=model.class_names, category_ids=model.category_ids
    )
    for line in describe(dataset):
        say(line)
    return dataset


def _key(variant: Variant, model: LoadedModel, options: CheckpointStudyOptions) -> MeasurementKey:
    file = model.source.stat()
    return MeasurementKey(
        checkpoint=str(model.source),
        bytes=file.st_size,
        modified=file.st_mtime,
        part_offsets=variant.part_offsets,
        set=_at_test(variant),
        data_section=model.config.data.model_dump(mode="json", exclude={"workers", "check_images"}),
        limit=options.limit,
        tta=options.tta,
    )


def _before(path: Path, key: MeasurementKey) -> Mapping[str, Any] | None:
    """Return the file of a measurement, if it is of the same."""
    if not path.is_file():
        return None
    content: Mapping[str, Any] = read_json(path, "measurement")
    return content if content.get("measured") == key.to_json() else None


def _at_test(variant: Variant) -> dict[str, Any]:
    return {key: value for key, value in variant.overrides.items() if key in TEST_KEYS}


def _measure(
    variant: Variant, model: LoadedModel, dataset: Dataset, options: CheckpointStudyOptions
) -> Evaluation:
    changed = _at_test(variant)
    settings = "".join(f", {key} = {value}" for key, value in changed.items())
    say(f"{model.source} (step {model.step}){settings}, {variant.part_offsets} part offsets")
    network = replace(model, detector=_with_settings(model, changed, pick_device(options.device)))
    with progress("evaluate") as update:
        return evaluate(
            network.with_precision().detector.with_part_offsets(variant.part_offsets),
            dataset,
            model.config,
            EvaluationOptions(
                limit=options.limit,
                tta=options.tta,
                masks=model.with_masks,
                progress=update,
            ),
        )


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
