"""The schedule `auto`: what a data set and a machine ask for, each choice with its reason.

`choose` is a pure function of what is known of the data and of the machine, and of what the user has settled
already. A run's `config.toml` holds the chosen values, so a resumed run, or one from that file, chooses none.

Numbers without a source are this project's: those for a few hundred photographs on a CPU were measured
(docs/evidence-photographs.md), the others join them to the paper's at the size of COCO.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dprd_cli.config.facts import GIB, DataFacts, MachineFacts
from dprd_cli.config.model_schema import RPNConfig

# 800 steps of 4 images, on 128
_VIEWS, _IMAGES = 3200, 128
_FEWEST_EPOCHS = 12  # COCO's 1x: 90,000 steps of 16 of 118,287 images
_FEWEST_STEPS = 600
_SCRATCH = 3  # times as many steps without pretrained weights
_LARGE_MEMORY = 6 * GIB  # of a GPU that the paper's networks are trained on
#: Peak of a training step in bytes for a pixel, and what is there without images; rounded up from
#: `dprd train --probe-batch` (a CPU) and docs/performance.md (a GPU, bfloat16).
_PIXEL_BYTES = {"medium": 2200.0, "small": 1200.0, "": 1300.0}
_BASE_BYTES = {"medium": 1.0 * GIB, "small": 0.8 * GIB, "": 2.0 * GIB}
#: Which backbone is wanted first.
BACKBONES = {
    "cpu": ("mobilenet_v2", "r18", "r34", "r50"),
    "cuda": ("r50", "r101", "x101", "r34", "r18", "mobilenet_v2"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice and why.

    Args:
        values: Dotted key -> value, of all keys that it settles; the first is the one that it is about.
        text: What was chosen, in words; empty where that was given and only what follows from it was chosen.
        reason: Why.
        option: What changes it.
    """

    values: Mapping[str, Any]
    text: str
    reason: str
    option: str

    def line(self) -> str:
        """Return it as one line."""
        return f"{self.text}: {self.reason} ({self.option})"


@dataclass(frozen=True, slots=True)
class AutoSchedule:
    """All choices.

    Args:
        preset: Architecture.
        choices: What was chosen, in order.
    """

    preset: str
    choices: list[Choice] = field(default_factory=list)

    @property
    def values(self) -> Mapping[str, Any]:
        """Dotted key -> value, of every choice."""
        return {key: value for choice in self.choices for key, value in choice.values.items()}

    def lines(self) -> list[str]:
        """Return a line for each choice: what, why, and what changes it."""
        return [choice.line() for choice in self.choices if choice.text]


def choose(
    data: DataFacts, machine: MachineFacts, given: Mapping[str, Any], epochs: float | None = None
) -> AutoSchedule:
    """Choose what the user has not settled.

    Laws: a function of its arguments alone. No key of `given` is chosen, and the others fit those. More
    images: more steps, never more epochs. Less memory: no more images in a pass, and the same step.

    Args:
        data: What is to be trained on.
        machine: What it is trained on.
        given: Dotted key -> value of what is settled, `preset` among it where it is; by the user, by a file,
            or by the weights that training starts from.
        epochs: Passes through the images, where the user said so.
    """
    plan = AutoSchedule(str(given.get("preset") or _preset(machine, given)))
    steps = [_preset_choice, _backbone, _image_size, _anchors, _batch, _length, _rate, _evaluation]
    settled = dict(given) | {"preset": plan.preset}
    for step in steps:
        choice = step(_Case(data, machine, settled, epochs))
        values = {key: value for key, value in choice.values.items() if key not in given}
        settled |= values
        told = next(iter(choice.values), "") in values
        plan.choices.append(replace(choice, values=values, text=choice.text if told else ""))
    return plan


def is_reduced(preset: str) -> bool:
    """Whether a preset is one of the narrow ones."""
    return preset.endswith(("-medium", "-small"))


def _preset(machine: MachineFacts, given: Mapping[str, Any]) -> str:
    large = machine.device == "cuda" and machine.memory >= _LARGE_MEMORY
    large = large or bool(given.get("train.weights"))  # of another program: they are of this width
    return "cascade-dprd" if large else "cascade-dprd-medium"


class _Case(NamedTuple):
    """What a choice is made from."""

    data: DataFacts
    machine: MachineFacts
    settled: Mapping[str, Any]  # what the user gave, and the choices before this one
    epochs: float | None


def _preset_choice(case: _Case) -> Choice:
    preset = case.settled["preset"]
    why = "trains on a CPU in hours" if is_reduced(preset) else "the paper's, for a GPU"
    if case.settled.get("train.weights"):
        why = "as wide as the weights to start from"
    if case.machine.device == "cuda" and preset.endswith("-medium"):
        why = f"a GPU of {case.machine.memory / GIB:.0f} GiB is small for the paper's"
    heads = "" if case.data.masks else "; no object has a mask, so there are no mask heads: boxes only"
    return Choice({"preset": preset}, f"preset {preset}", why + heads, "--preset")


def _backbone(case: _Case) -> Choice:
    order = BACKBONES[case.machine.device]
    here = [name for name in order if name in case.machine.pretrained]
    name = case.settled.get("model.backbone.name") or (here[0] if here else order[0])
    option = "--backbone, --backbone-weights"
    if "model.backbone.weights" in case.settled:
        values = {"model.backbone.name": name}
        return Choice(values, f"backbone {name}", "whose weights were given", option)
    if name in case.machine.pretrained:
        values = {"model.backbone.name": name, "model.backbone.weights": "imagenet"}
        return Choice(values, f"backbone {name}", "its ImageNet weights are on this machine", option)
    why = (
        f"no ImageNet weights on this machine, so from scratch, which takes far more images and steps; "
        f"`dprd weights fetch imagenet --backbone {name}` downloads them, --backbone-weights FILE takes yours"
    )
    values = {"model.backbone.name": name, "model.backbone.weights": "none"}
    return Choice(values, f"backbone {name}", why, option)


def _image_size(case: _Case) -> Choice:
    large = not is_reduced(case.settled["preset"])
    least, most, enlarged = (480, 800, 1.6) if large else (320, 512, 1.25)
    wanted = 800.0 if large else 24 / case.data.small_object if case.data.small_object else 320.0
    side = _multiple(min(max(wanted, least), most, max(case.data.short_side * enlarged, 192)))
    side = case.settled.get("data.test_min_size", side)
    shares = (0.8, 0.84, 0.88, 0.92, 0.96, 1.0) if large else (0.8, 0.9, 1.0, 1.1)
    values = {
        "data.test_min_size": side,
        "data.train_min_sizes": [max(32, round(side * share / 16) * 16) for share in shares],
        "data.max_size": _multiple(side * 1.8) if not large else round(side * 5 / 3),
    }
    why = f"the images' short side is {case.data.short_side:.0f}"
    if case.data.small_object:
        why += f", and a tenth of the objects are below {case.data.small_object * side:.0f} pixels there"
    return Choice(values, f"image size {side}", why, "--image-size")


def _anchors(case: _Case) -> Choice:
    small = case.data.small_object * case.settled["data.test_min_size"]
    if not case.data.small_object or small >= 20:
        return Choice({}, "", "", "")
    values = {
        "model.rpn.anchor_sizes": [size / 2 for size in RPNConfig().anchor_sizes],
        "model.rpn.anchors_per_image": 64,
    }
    why = f"a tenth of the objects are below {small:.0f} pixels"
    return Choice(values, "anchors of half the size", why, "--set model.rpn.anchor_sizes=...")


def _batch(case: _Case) -> Choice:
    wanted = 4 if case.machine.device == "cpu" else 8 if case.data.images < 1000 else 16
    batch = case.settled.get("train.batch_size", min(wanted, case.data.images))
    room = images_in_memory(case.machine.memory, case.settled)
    passes = -(-batch // max(1, min(room, batch)))
    values = {"train.batch_size": batch, "train.accumulate": passes}
    text = f"batch of {batch} images" + (f", in {passes} passes" if passes > 1 else "")
    why = f"about {room} of this size fit into {case.machine.memory / GIB:.1f} GiB"
    return Choice(values, text, why, "--batch-size")


def images_in_memory(memory: int, settled: Mapping[str, Any]) -> int:
    """Return how many images go through the network at once, at least 1: an estimate.

    Args:
        memory: Bytes.
        settled: `preset`, and the keys of image sizes.
    """
    kind = next((kind for kind in ("medium", "small") if settled["preset"].endswith(kind)), "")
    pixels = float(max(settled["data.train_min_sizes"]) * settled["data.max_size"])
    return max(1, int((0.8 * memory - _BASE_BYTES[kind]) / (_PIXEL_BYTES[kind] * pixels)))


def _length(case: _Case) -> Choice:
    batch = case.settled["train.batch_size"]
    scratch = case.settled.get("model.backbone.weights") == "none" and not case.settled.get("train.weights")
    views = training_views(case.data, scratch=scratch)
    why = f"{case.data.images} images"
    why += f", {case.data.classes} classes" if case.data.classes > 1 else ""
    why += ", from scratch" if scratch else ""
    if case.epochs is not None:
        views, why = math.ceil(case.epochs * case.data.images), "as asked for"
    steps = case.settled.get("train.steps", max(1, -(-views // batch)))
    if "train.steps" not in case.settled and case.epochs is None:
        steps = _round_up(max(steps, _FEWEST_STEPS), 10)
    adamw = _optimizer(case.settled) == "adamw"
    values = {
        "train.steps": steps,
        "train.warmup_steps": max(1, min(steps // 20, 50 if adamw else 1000)),
        "train.save_every": max(1, min(50 if steps < 5000 else 200, steps)),
        "train.log_every": max(1, min(10 if adamw else 20, steps)),
    }
    text = f"{steps} steps, {steps * batch / case.data.images:.1f} epochs"
    return Choice(values, text, why, "--epochs, --steps")


def training_views(data: DataFacts, *, scratch: bool = False) -> int:
    """Return how many images training sees, repeated ones included.

    It grows with the power 0.7 of the number of images that show an object (at least a quarter of all count),
    and by a tenth with every doubling of the classes; it is never less than 12 epochs.

    Args:
        data: What is to be trained on.
        scratch: There are no pretrained weights.
    """
    counted = max(data.with_objects, data.images / 4, 1)
    epochs: float = _VIEWS / _IMAGES * (_IMAGES / counted) ** 0.3
    epochs *= (1 + 0.1 * math.log2(max(data.classes, 1))) * (_SCRATCH if scratch else 1)
    return math.ceil(round(float(max(epochs, _FEWEST_EPOCHS)) * data.images, 6))


def _optimizer(settled: Mapping[str, Any]) -> str:
    return str(settled.get("train.optimizer") or ("adamw" if is_reduced(settled["preset"]) else "sgd"))


def _rate(case: _Case) -> Choice:
    batch, optimizer = case.settled["train.batch_size"], _optimizer(case.settled)
    if optimizer == "sgd":
        rate, why = 0.02 * batch / 16, f"Detectron2's 0.02 for 16 images, for {batch}"
        rest = {"train.weight_decay": 1e-4, "train.part_lr_mult": 0.01, "train.clip_norm": 35.0}
    else:
        base = min(1e-3, max(2e-4, 6e-3 / case.data.classes))
        base = base if is_reduced(case.settled["preset"]) else base / 10
        rate = base * math.sqrt(batch / 4)
        classes = "1 class" if case.data.classes == 1 else f"{case.data.classes} classes"
        why = f"{base:g} for 4 images of {classes}, for {batch}"
        rest = {"train.weight_decay": 0.05, "train.part_lr_mult": 0.02, "train.clip_norm": 5.0}
    rate = float(f"{rate:.3g}")
    values = {"train.lr": rate, "train.optimizer": optimizer, "train.decay": "cosine", **rest}
    return Choice(values, f"learning rate {rate:g} with {optimizer}, cosine decay", why, "--lr")


def _evaluation(case: _Case) -> Choice:
    steps, views = case.settled["train.steps"], case.settled["train.steps"] * case.settled["train.batch_size"]
    # an image is evaluated in about a third of the time that it is trained on: no more than a quarter of it
    wanted, affordable = min(12, max(6, steps // 2000)), 0.75 * views / max(case.data.val_images, 1)
    number = int(min(wanted, max(affordable, 3), steps))
    limit = 0 if affordable >= number else max(50, int(0.75 * views / number))
    limit = 0 if limit >= case.data.val_images else limit
    every = -(-steps // number)
    patience = number // 2 + 1
    values = {"train.eval_every": every, "train.eval_limit": limit, "train.patience": patience}
    text = f"evaluation every {every} steps" + (f" of {limit} images" if limit else "")
    why = f"{case.data.val_images} images to evaluate on; after {patience} without a better one the run ends"
    return Choice(values, text, why, "--set train.eval_every=..., train.patience=...")


def _multiple(side: float) -> int:
    """Return the nearest multiple of 32."""
    return max(32, round(side / 32) * 32)


def _round_up(steps: int, unit: int) -> int:
    return -(-steps // unit) * unit
