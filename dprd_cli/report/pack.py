"""A run as a folder that can be given away: safetensors, a model card, and the run's images."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import merge
from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.evaluation.curve_figures import KINDS
from dprd_cli.files.atomic import write_bytes
from dprd_cli.files.output_folder import OutputChoice, OutputFolder, output_folder
from dprd_cli.report.model_card import CardEvaluation, CardFacts, model_card
from dprd_cli.report.runs import RunFiles, read_run
from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint
from dprd_cli.weights.find import find_checkpoint
from dprd_cli.weights.hub import WEIGHTS_FILE
from dprd_cli.weights.hub_push import CARD_FILE, IMAGES_FOLDER
from dprd_cli.weights.load import LoadedModel, load_model

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.ASCII)
#: Images that a run folder may hold, and what each shows.
_DRAWN = {
    "parts.png": "Held-out images with detections, parts in orange",
    "ap.png": "AP in training",
    "loss.png": "Loss in training",
}
#: The same for the folder that `dprd eval` drew into.
_ANALYSED = {
    "best.jpg": "The images that were detected best: annotated, and detected",
    "worst.jpg": "The images that were detected worst: annotated, and detected",
    "pr_bbox.png": "Precision over recall of boxes",
    "confusion.png": "Which class was taken for which",
}


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A folder that can be given away.

    Args:
        folder: It.
        checkpoint: What was packed.
        step: Optimiser steps that it was trained for.
        files: Size in bytes of each file, by its path in the folder.
        evaluation: Where the card's numbers are from; None where there are none.
    """

    folder: Path
    checkpoint: Path
    step: int
    files: dict[str, int]
    evaluation: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "folder": str(self.folder),
            "checkpoint": str(self.checkpoint),
            "step": self.step,
            "files": self.files,
            "evaluation": self.evaluation,
        }


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How a model is packed.

    Args:
        name: What the card calls it; empty for the run's name.
        licence: What the weights are under, as the hub spells it (`apache-2.0`); empty: nobody said.
        images: Put the run's images into the folder.
    """

    name: str = ""
    licence: str = ""
    images: bool = True


def pack_weights(spec: str, output: OutputChoice, options: PackOptions | None = None) -> PackedModel:
    """Write a folder with a run's weights, its card and its images.

    The detector in it gives the run's detections, bit for bit. Folders of this machine are left out of the
    configuration: of a path to data or weights only the last name stays.

    Args:
        spec: As for `find_checkpoint`.
        output: The folder.
        options: Name, licence, images.

    Raises:
        UserError: If there is no such run, it does not load, or the folder is the run's own or cannot be
            written.
    """
    options = options or PackOptions()
    if options.licence and not _LICENCE.fullmatch(options.licence):
        raise UsageError(
            f"--license {options.licence}: expected the hub's name of one, such as apache-2.0, mit or other"
        )
    source = find_checkpoint(spec)
    model = load_model(str(source), "cpu")
    run = read_run(Path(spec) if Path(spec).is_dir() else source)
    found = _evaluation(run, model)
    own = (WEIGHTS_FILE, CARD_FILE, IMAGES_FOLDER)
    with output_folder(output, Path("packed"), "weights pack", names=own, inputs=[source]) as folder:
        images = _copy_images(run, folder) if options.images else {}
        _write_weights(model, found, run.environment, folder.claim(WEIGHTS_FILE))
        facts = _facts(options, model, run, found, images)
        write_bytes(folder.claim(CARD_FILE), model_card(facts).encode())
    sizes = {name: (folder.path / name).stat().st_size for name in (WEIGHTS_FILE, CARD_FILE, *images)}
    return PackedModel(folder.path, source, model.step, sizes, None if found is None else found.source)


def _evaluation(run: RunFiles, model: LoadedModel) -> CardEvaluation | None:
    """Return the evaluation of just these weights that is of the most images."""
    data = model.config.data
    name = _data_name(model.config)
    command = "dprd eval --weights WEIGHTS" + ("" if data.built_in else " --data DATA")
    found = []
    for one in run.recorded:
        content = one.content
        if not one.usual or content.get("step") != model.step:
            continue
        split = content.get("split", "val")
        flat = {f"{kind}_{key}": value for kind in KINDS for key, value in (content.get(kind) or {}).items()}
        where = "measured when training ended" if one.file == "results.json" else f"dprd eval, {one.file}"
        images, classes = _count(content.get("images")), content.get("classes") or []
        flat["part_iou"] = content.get("part_iou")
        measured = command if split == "val" else f"{command} --split {split}"
        found.append(CardEvaluation(where, measured, f"{name} {split}", images, flat, classes))
    for row in run.evaluations:
        if row.get("step") == model.step:
            where = f"measured in training, at step {model.step}"
            found.append(CardEvaluation(where, command, f"{name} val", _count(row.get("images")), row))
    return max(found, key=lambda one: one.images, default=None)


def _copy_images(run: RunFiles, folder: OutputFolder) -> dict[str, str]:
    """Copy the images that a run folder holds; return what each shows, by its path."""
    if run.folder is None:
        return {}
    sources = {run.folder / name: text for name, text in _DRAWN.items()}
    if run.analysis is not None:
        place = run.folder / Path(run.analysis.file).parent
        sources |= {place / name: text for name, text in _ANALYSED.items()}
    copied = {}
    for path, text in sources.items():
        if not path.is_file():
            continue
        target = folder.claim(IMAGES_FOLDER, path.name)
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise ResourceError(f"{target}: cannot write ({error.strerror})") from error
        copied[f"{IMAGES_FOLDER}/{path.name}"] = text
    return copied


def _write_weights(
    model: LoadedModel, found: CardEvaluation | None, environment: Mapping[str, Any], path: Path
) -> None:
    content: dict[str, Any] = {**read_checkpoint(model.source)}
    data, weights = model.config.data, model.config.model.backbone.weights
    merge(
        content["config"],
        {
            "data": {"path": data.path if data.built_in else Path(data.path).name},
            "model": {"backbone": {"weights": _without_folder(weights)}},
            "train": {"weights": _without_folder(model.config.train.weights)},
        },
    )
    provenance = {
        "command": environment.get("command"),
        "commit": environment.get("commit"),
        "seed": model.config.train.seed,
        "data": found and found.data,
        **({} if found is None else {f"{kind}_AP": found.metrics.get(f"{kind}_AP") for kind in KINDS}),
    }
    export_safetensors(content, path, provenance)


def _facts(
    options: PackOptions,
    model: LoadedModel,
    run: RunFiles,
    found: CardEvaluation | None,
    images: Mapping[str, str],
) -> CardFacts:
    config, parts = model.config, model.config.model.parts
    offsets = model.detector.state_dict().get("roi_heads.parts.mean_offsets")
    weights = config.train.weights or config.model.backbone.weights
    return CardFacts(
        name=options.name or run.name,
        licence=options.licence,
        preset=config.preset,
        backbone=config.model.backbone.name,
        parameters=sum(one.numel() for one in model.detector.parameters()),
        with_masks=model.with_masks,
        image_size=(config.data.test_min_size, config.data.max_size),
        classes=model.class_names,
        score=model.shown_from,
        parts="none" if parts.mode == "pooling" else parts.mode,
        sigma=parts.sigma,
        mean_offsets=[] if offsets is None else offsets.tolist(),
        data=_data_name(config),
        step=model.step,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        start=_without_folder(weights),
        evaluation=found,
        environment=run.environment,
        images=images,
    )


def _data_name(config: Config) -> str:
    path = config.data.path
    return f"the built-in data ({path})" if config.data.built_in else Path(path).resolve().name


def _without_folder(weights: str) -> str:
    """Return the name of weights without this machine's folders; published names hold a colon."""
    return weights if ":" in weights else Path(weights).name


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
