"""What older versions meant: keys that were called otherwise once, and keys that they did not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Old dotted key -> its name now.
RENAMED = {"data.check_pictures": "data.check_images", "train.amp": "train.precision"}
#: Old dotted key -> its values then, and what they are called now.
_OLD_WORDS = {"train.amp": {"on": "auto", "off": "fp32"}}  # `on` never was more than `auto`


def _decay_of_all(tree: Mapping[str, Any]) -> Any:
    """Return the decay that normalisation layers once had: that of all else, but none under AdamW."""
    train = tree["train"]
    return 0.0 if train.get("optimizer") == "adamw" else train.get("weight_decay", 1e-4)


#: Key -> what every configuration meant before there was that key, where it is not the default of now; or a
#: function of the configuration that says it.
OLD_VALUES: dict[str, Any] = {
    "model.parts.lookup_cell": "floor",
    "model.parts.mask_lookup": False,
    "model.parts.places.told": False,
    "model.fusion.concat_relu": True,
    "model.heads.mask_iou_loss": "mean",
    "model.heads.mask_iou_grad": False,
    "model.sampling.bg_from_empty": False,
    "model.cascade.mask_grad_scale": 1.0,
    "train.weight_decay_norm": _decay_of_all,
}
#: Keys of all sections, which are together where a program wrote the whole configuration down.
_WHOLE = ("preset", "model.parts.sigma", "model.cascade.ious", "data.flip", "train.momentum")


def renamed_value(key: str, value: Any) -> Any:
    """Return the value of an old dotted key as it is written now."""
    words = _OLD_WORDS.get(key, {})
    return words.get(value, value) if isinstance(value, str) else value


def rename_keys(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict of configuration values with the names of now; of both, the new one wins."""
    renamed: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            renamed[name] = rename_keys(value, f"{key}.")
        elif key in RENAMED:
            renamed.setdefault(RENAMED[key].rpartition(".")[2], renamed_value(key, value))
        else:
            renamed[name] = value
    return renamed


def fill_old_values(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested dict of configuration values with what a stored one meant by keys that it lacks.

    A configuration is stored whole (in a checkpoint, a run folder): what it lacks came later, and it goes on
    meaning what it meant. One that is written by hand has a few keys, and the defaults of now for the rest.
    """
    filled = rename_keys(tree)
    if all(_has(filled, key) for key in _WHOLE):
        for key, value in OLD_VALUES.items():
            *sections, name = key.split(".")
            holder: Any = filled
            for section in sections:
                holder = holder.setdefault(section, {}) if isinstance(holder, dict) else None
            if isinstance(holder, dict):
                holder.setdefault(name, value(filled) if callable(value) else value)
    return filled


def _has(tree: Mapping[str, Any], key: str) -> bool:
    """Return whether a nested dict has a dotted key."""
    holder: Any = tree
    for name in key.split("."):
        if not isinstance(holder, Mapping) or name not in holder:
            return False
        holder = holder[name]
    return True
