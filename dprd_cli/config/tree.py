"""A configuration as nested dicts, dotted keys and TOML."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from dprd_cli.config import registry
from dprd_cli.config.aliases import RENAMED, fill_old_values, renamed_value
from dprd_cli.config.backbone_names import frozen_stages, layer_decay
from dprd_cli.config.plugins import check_plugins
from dprd_cli.config.schema import Config
from dprd_cli.config.spellings import SAME_KEYS
from dprd_cli.errors import UsageError, did_you_mean, short_repr
from dprd_cli.files.text import read_text

#: Values of a configuration as nested dicts, as TOML and JSON hold them.
ConfigTree: TypeAlias = dict[str, Any]
_LONGEST_TOML = 2**20
# tomllib takes time by the square of a key's depth, and minutes for 100 kB of one
_DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the configuration, such as `model.parts.sigma`."""
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from known_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def parse_overrides(pairs: Iterable[str]) -> ConfigTree:
    """Turn `--set a.b=c` pairs into a nested dict; values are TOML, bare words are strings.

    Raises:
        UsageError: If a pair has no `=` or its key is unknown.
    """
    tree: ConfigTree = {}
    keys = set(known_keys())
    for pair in pairs:
        name, sign, text = pair.partition("=")
        key = (RENAMED | SAME_KEYS).get(name.strip(), name.strip())
        if not sign:
            raise UsageError(f"--set {pair}: expected KEY=VALUE, such as --set model.parts.sigma=0.4")
        if key not in keys:
            raise UsageError(f"--set {pair}: no config key '{key}'{did_you_mean(key, keys)}")
        try:
            value: Any = _parse_toml(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            value = text.strip()
        merge(tree, nest(key, renamed_value(name.strip(), value)))
    return tree


def nest(key: str, value: Any) -> ConfigTree:
    """Return `{"a": {"b": value}}` for the key `a.b`."""
    first, _, rest = key.partition(".")
    return {first: nest(rest, value) if rest else value}


def merge(base: ConfigTree, extra: Mapping[str, Any]) -> ConfigTree:
    """Merge `extra` into `base` in place, dict by dict, and return it; `extra` wins."""
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = dict(merge({}, value)) if isinstance(value, Mapping) else value
    return base


def read_toml(path: Path) -> ConfigTree:
    """Read a TOML config file; one that a run of an older version wrote gets the keys that it lacks.

    Raises:
        UsageError: If the file is missing or is not TOML.
    """
    try:
        return fill_old_values(_parse_toml(read_text(path)))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the config file ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # tomllib's own, or of numbers and bytes
        raise UsageError(f"{path}: not a TOML config file ({error})") from error


def _parse_toml(text: str) -> dict[str, Any]:
    if len(text) > _LONGEST_TOML or _DEEP_KEY.search(text):
        raise ValueError("larger or nested deeper than any configuration")
    return tomllib.loads(text)


def validate(tree: Mapping[str, Any], origin: str = "config") -> Config:
    """Check a nested dict and return it as a `Config`.

    Args:
        tree: Values by name; what is missing gets its default.
        origin: The file or URL that they come from, for messages.

    Raises:
        UsageError: One line naming the first wrong key (with a suggestion) or value, or a plugin that was
            not run.
    """
    check_plugins(tree, origin)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{origin}: no config key '{key}'{did_you_mean(key, known_keys())}") from error
        hint = ""
        if first["type"] == "literal_error" and isinstance(first["input"], str):
            hint = did_you_mean(
                first["input"],
                [w.strip("' ") for w in first["ctx"]["expected"].replace(" or ", ",").split(",")],
            )
        raise UsageError(f"{origin}: {key} = {short_repr(first['input'])}: {first['msg']}{hint}") from error


def settle(config: Config) -> Config:
    """Replace every `auto` that depends on other fields only (not on files) by its value."""
    backbone = config.model.backbone
    weights = backbone.weights
    if weights == "auto":
        own = config.data.built_in or config.train.weights or backbone.name in registry.backbone.from_plugins
        weights = "none" if own else "imagenet"
    scratch = weights == "none" and not config.train.weights
    norm = backbone.norm if backbone.norm != "auto" else ("bn" if scratch else "frozen_bn")
    frozen: int | str = backbone.frozen_stages
    if frozen == "auto":
        frozen = frozen_stages(backbone.name, pretrained=not scratch)
    backbone = backbone.model_copy(update={"weights": weights, "norm": norm, "frozen_stages": frozen})
    train = config.train
    if train.layer_decay == "auto":
        decay = layer_decay(backbone.name, pretrained=not scratch)
        train = train.model_copy(update={"layer_decay": decay})
    cascade = config.model.cascade
    if cascade.mask_grad_scale == "auto":
        cascade = cascade.model_copy(update={"mask_grad_scale": 1 / max(len(cascade.mask_stages), 1)})
    model = config.model.model_copy(update={"backbone": backbone, "cascade": cascade})
    return config.model_copy(update={"model": model, "train": train})


def to_toml(config: Config) -> str:
    """Write a config as TOML that `read_toml` and `validate` read back to the same config."""
    lines: list[str] = []

    def emit(tree: Mapping[str, Any], path: str) -> None:
        scalars = {k: v for k, v in tree.items() if not isinstance(v, Mapping)}
        if path and scalars:
            lines.append(f"\n[{path}]")
        # JSON's strings, numbers, booleans and arrays are valid TOML
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in scalars.items())
        for key, value in tree.items():
            if isinstance(value, Mapping):
                emit(value, f"{path}.{key}" if path else key)

    emit(config.model_dump(mode="json"), "")
    return "\n".join(lines) + "\n"


def flatten(config: Config | Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted key -> value, JSON-serialisable.

    Args:
        config: A configuration, or a nested dict of values, whose keys need not be known to this version.
    """
    tree = config.model_dump(mode="json") if isinstance(config, Config) else config
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = flatten(value) if isinstance(value, Mapping) else None
        flat |= {name: value} if inner is None else {f"{name}.{key}": one for key, one in inner.items()}
    return flat


def differences(
    first: Config | Mapping[str, Any], second: Config | Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return dotted key -> both values, for the keys of the first whose values differ.

    A key that the second does not have differs, and its second value is None.
    """
    left, right = flatten(first), flatten(second)
    return {
        key: (value, right.get(key)) for key, value in left.items() if key not in right or value != right[key]
    }
