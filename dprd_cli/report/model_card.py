"""A model card: what a detector is, what was measured, and where it ends, as Markdown that the hub reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dprd_cli.errors import one_line
from dprd_cli.evaluation.curve_figures import KINDS
from dprd_cli.structures.part_names import PART_NAMES

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&])")
_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL")


@dataclass(frozen=True, slots=True)
class CardEvaluation:
    """The evaluation that a card shows.

    Args:
        source: Where its numbers are from, in words.
        command: What measures them again; WEIGHTS stands for the weights.
        data: What it was measured on.
        images: Number of images.
        metrics: Flat name -> value, `bbox_AP` ... in percent, `part_iou` as a fraction.
        classes: A row for each class, as results files have them; may be empty.
    """

    source: str
    command: str
    data: str
    images: int
    metrics: Mapping[str, Any]
    classes: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says.

    Args:
        name: What the model is called.
        licence: What the weights are under, as the hub spells it; empty where nobody said.
        preset: Its preset.
        backbone: Its backbone.
        parameters: Their number.
        with_masks: Whether it has mask heads.
        image_size: Short and largest long side at test, pixels.
        classes: Their names. [K]
        score: Score from which its detections are shown.
        parts: What places the parts (`deformable`, ...); `none` where there are none.
        sigma: The sigma rule's.
        mean_offsets: Mean (dx, dy, dw, dh) of each part, where parts are learned. [P][4]
        data: Name of what it was trained on.
        step: Optimiser steps.
        batch_size: Images of a step.
        seed: Seed of the run.
        start: What the training started from.
        evaluation: Its evaluation, or None.
        environment: Content of `environment.json`; may be empty.
        images: What each image shows, by its path from the card on.
    """

    name: str
    licence: str
    preset: str
    backbone: str
    parameters: int
    with_masks: bool
    image_size: tuple[int, int]
    classes: tuple[str, ...]
    score: float
    parts: str
    sigma: float
    mean_offsets: Sequence[Sequence[float]]
    data: str
    step: int
    batch_size: int
    seed: int
    start: str
    evaluation: CardEvaluation | None
    environment: Mapping[str, Any]
    images: Mapping[str, str]


def model_card(facts: CardFacts) -> str:
    """Return a card; names in it are text, whatever they hold."""
    sections = (
        _front_matter(facts),
        f"# {_text(facts.name)}",
        _what(facts),
        _use(facts),
        _results(facts),
        _parts(facts),
        _training(facts),
        _limits(facts),
        _images(facts),
        _CITATION,
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(facts: CardFacts) -> str:
    """Return what the hub reads of a card."""
    import yaml

    kind = "image-segmentation" if facts.with_masks else "object-detection"
    tags = ["dprd", "object-detection", *(["instance-segmentation"] if facts.with_masks else [])]
    if facts.parts != "none":
        tags.append("deformable-parts")
    about: dict[str, Any] = {"library_name": "dprd-cli", "pipeline_tag": kind, "tags": tags}
    if facts.licence:
        about["license"] = facts.licence
    found = facts.evaluation
    metrics = [
        {"type": f"{key}_AP", "name": f"{title} AP (IoU 0.50 to 0.95)", "value": round(value, 2)}
        for key, title in KINDS.items()
        if found is not None and isinstance(value := found.metrics.get(f"{key}_AP"), int | float)
    ]
    if found is not None and metrics:
        dataset = {"type": re.sub(r"[^a-z0-9-]+", "-", found.data.lower()).strip("-"), "name": found.data}
        result = {"task": {"type": "object-detection"}, "dataset": dataset, "metrics": metrics}
        about["model-index"] = [{"name": facts.name, "results": [result]}]
    return f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---"


def _what(facts: CardFacts) -> str:
    kind = "boxes and masks" if facts.with_masks else "boxes"
    parts = "" if facts.parts == "none" else ", and the part boxes that it decided by"
    names = ", ".join(map(_text, facts.classes))
    return (
        f"A detector: it gives {kind} of {len(facts.classes)} classes{parts}. Network: preset "
        f"{_code(facts.preset)} on {_code(facts.backbone)}, {facts.parameters / 1e6:.1f} million "
        f"parameters, images with a short side of {facts.image_size[0]} pixels and a long one of at most "
        f"{facts.image_size[1]}.\n\nClasses: {names}."
    )


def _use(facts: CardFacts) -> str:
    return (
        "## Use\n\n"
        "    pip install 'dprd-cli[hub]'\n"
        "    dprd predict IMAGES --weights WEIGHTS\n\n"
        "`WEIGHTS` is `hf:` and the name of this repository, as in `hf:ORG/NAME`; `hf:ORG/NAME@COMMIT` stays "
        "the same whatever comes later; a copy of this folder does too. The weights and the configuration "
        "are in `model.safetensors`, with a checksum; no file here can run code. "
        f"Objects of score {facts.score:.2f} or more are shown unless `--score-thresh` says otherwise."
    )


def _results(facts: CardFacts) -> str:
    found = facts.evaluation
    if found is None:
        return "## Results\n\nNone: no evaluation of these weights was recorded where they were packed."
    rows = [
        (title, *(_number(found.metrics.get(f"{key}_{name}")) for name in _METRICS))
        for key, title in KINDS.items()
        if found.metrics.get(f"{key}_AP") is not None
    ]
    text = (
        f"## Results\n\nCOCO's metrics in percent on {_text(found.data)}, {found.images} images "
        f"({_text(found.source)}):\n\n{_table(('', *_METRICS), rows)}\n\nThe same again:\n\n"
        f"    {one_line(found.command)}"
    )
    if not found.classes:
        return text
    columns = {"objects": "objects", "bbox_ap": "box AP", "bbox_ap50": "box AP50", "segm_ap": "mask AP"}
    cells = [
        (
            _text(row.get("name", "?")),
            *(_number(row.get(key), ".0f" if key == "objects" else ".1f") for key in columns),
        )
        for row in found.classes
    ]
    return f"{text}\n\nBy class:\n\n{_table(('class', *columns.values()), cells)}"


def _parts(facts: CardFacts) -> str:
    if facts.parts == "none":
        return ""
    lines = [
        f"Each object has part boxes, {_code(f'model.parts.mode={facts.parts}')}; sigma is {facts.sigma:g}."
    ]
    part_iou = facts.evaluation.metrics.get("part_iou") if facts.evaluation else None
    if isinstance(part_iou, int | float):
        lines.append(
            f"Detected parts overlap their reference parts by an IoU of {part_iou:.3f} on average (1: they "
            "do not move)."
        )
    text = " ".join(lines)
    if not facts.mean_offsets:
        return f"## Parts\n\n{text}"
    rows = [
        (name, f"{dx:+.3f}", f"{dy:+.3f}", f"{math.exp(dw):.3f}", f"{math.exp(dh):.3f}")
        for name, (dx, dy, dw, dh) in zip(
            PART_NAMES[len(facts.mean_offsets)], facts.mean_offsets, strict=True
        )
    ]
    head = ("part", "right", "down", "times as wide", "times as high")
    return (
        f"## Parts\n\n{text} Their mean move over the objects of the training, in widths and heights of the "
        f"reference part:\n\n{_table(head, rows)}"
    )


def _training(facts: CardFacts) -> str:
    rows = [
        ("data", _text(facts.data)),
        ("started from", "random numbers" if facts.start in ("", "none") else _text(facts.start)),
        ("steps", f"{facts.step} of {facts.batch_size} images"),
        ("seed", str(facts.seed)),
    ]
    names = ("dprd", "commit", "python", "torch", "torchvision", "device")
    rows += [(name, _text(facts.environment[name])) for name in names if facts.environment.get(name)]
    text = f"## Training\n\n{_table(('', ''), rows)}"
    command = facts.environment.get("command")
    return f"{text}\n\nThe command:\n\n    {one_line(command)}" if command else text


def _limits(facts: CardFacts) -> str:
    parts = (
        ""
        if facts.parts == "none"
        else " Parts are learned without part labels: regions that helped, not named parts of things."
    )
    licence = f"`{facts.licence}`" if facts.licence else "not stated by whoever packed them: ask before use"
    return (
        "## Intended use and limits\n\n"
        "For finding objects of the classes above in images like those of the training, and for studying how "
        "parts move. On other images, cameras, classes or sizes nothing was measured: measure on your own "
        "with `dprd eval` first. A score is no probability. Not for decisions about people, or where a miss "
        f"does harm, without a measurement of your own.{parts}\n\n"
        f"Licence of the weights: {licence}. What the data's licence asks of them is not known here."
    )


def _images(facts: CardFacts) -> str:
    shown = "\n\n".join(f"![{text}]({path})\n\n*{text}*" for path, text in facts.images.items())
    return f"## Images\n\n{shown}" if shown else ""


_CITATION = """## Citation

```bibtex
@inproceedings{bae2022deformable,
  title     = {Deformable Part Region Learning for Object Detection},
  author    = {Bae, Seung-Hwan},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume    = {36},
  number    = {1},
  pages     = {95--103},
  year      = {2022}
}
```"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(head, rows))


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---'] * len(head))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _number(value: Any, form: str = ".1f") -> str:
    return format(value, form) if isinstance(value, int | float) else "-"


def _code(value: str) -> str:
    """Return text as Markdown's code, on one line, which no backtick in it ends."""
    return f"`{one_line(value, 300).replace('`', chr(39))}`"


def _text(value: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", one_line(value, 300))
