"""Where each value of a configuration comes from, how two configurations differ, and which keys there are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dprd_cli.config.fields import Section
from dprd_cli.config.presets import SCHEDULES, preset_tree, resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import (
    ConfigTree,
    flatten,
    known_keys,
    merge,
    nest,
    parse_overrides,
    read_toml,
    settle,
    to_toml,
    validate,
)
from dprd_cli.errors import UsageError

_COMMENT_COLUMN = 44


@dataclass(frozen=True, slots=True)
class ConfigProvenance:
    """A resolved configuration.

    Args:
        config: All its values.
        origins: Dotted key -> `default`, `preset NAME`, `schedule NAME`, the file, `options`, `--set`; or
            `auto`, for what follows from other values. What only repeats a value is not its origin.
    """

    config: Config
    origins: dict[str, str]

    def to_toml(self, *, changed: bool = False) -> str:
        """Return the configuration as TOML, each value with its origin as a comment.

        Args:
            changed: Leave out what is as by default.
        """
        lines: list[str] = []
        section = waiting = ""
        for line in to_toml(self.config).splitlines():
            if line.startswith("["):
                section, waiting = line.strip("[]") + ".", f"\n{line}"
            elif line:
                origin = self.origins[section + line.partition(" = ")[0]]
                if changed and origin == "default":
                    continue
                lines += [waiting] if waiting else []
                waiting = ""
                lines.append(f"{line:<{_COMMENT_COLUMN}}  # {origin}")
        return "\n".join(lines) + "\n"

    def to_json(self, *, changed: bool = False) -> dict[str, Any]:
        """Return preset, schedule, and each value with its origin.

        Args:
            changed: Leave out what is as by default.
        """
        kept = {
            key: {"value": value, "origin": self.origins[key]}
            for key, value in flatten(self.config).items()
            if not changed or self.origins[key] != "default"
        }
        return {"preset": self.config.preset, "schedule": self.config.schedule, "values": kept}


@dataclass(frozen=True, slots=True)
class ConfigBase:
    """What a name stands for: a preset, a file, or the configuration that a checkpoint holds.

    Args:
        title: The file or weights, for messages; empty for a preset.
        preset: Architecture name; the file's, or the default one, where None.
        schedule: Schedule name; the file's, or that of the data, where None.
        file: TOML file.
        tree: The configuration of a checkpoint.
    """

    title: str = ""
    preset: str | None = None
    schedule: str | None = None
    file: Path | None = None
    tree: ConfigTree = field(default_factory=dict)


class _Layer(NamedTuple):
    """Values that are laid over those before, and the configuration up to them."""

    title: str
    tree: Mapping[str, Any]
    build: Callable[[], Config]


def explain(
    base: ConfigBase,
    *,
    schedule: str | None = None,
    flags: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
) -> ConfigProvenance:
    """Resolve a configuration, and find out where each value comes from.

    The configuration is resolved with one layer more at a time. A value that changes with a layer that does
    not name it was settled from other values.

    Args:
        base: What it starts from; `weights.named_config.named_base` finds it by name.
        schedule: As for `resolve`.
        flags: Dotted key -> value; entries that are None are left out.
        overrides: `KEY=VALUE` pairs.

    Raises:
        UsageError: If a value does not fit.
    """
    overrides = list(overrides)
    given: ConfigTree = {}
    for key, value in (flags or {}).items():
        merge(given, {} if value is None else nest(key, value))
    flags, named = dict(flags or {}), partial(resolve, base=base.tree, config_file=base.file)
    final = named(preset=base.preset, schedule=schedule or base.schedule, flags=flags, overrides=overrides)
    preset, last = final.preset, final.schedule
    named = partial(named, preset=preset, schedule=last)
    layers = [
        _Layer(
            f"preset {preset}",
            {"preset": preset, **preset_tree(preset)},
            lambda: settle(validate({"preset": preset, **preset_tree(preset)})),
        ),
        _Layer(
            f"schedule {last}",
            {"schedule": last, **SCHEDULES[last]},
            partial(resolve, preset=preset, schedule=last),
        ),
        _Layer(base.title, read_toml(base.file) if base.file else base.tree, named),
        _Layer("options", given, partial(named, flags=flags)),
        _Layer("--set", parse_overrides(overrides), lambda: final),
    ]
    before, origins = flatten(Config()), dict.fromkeys(known_keys(), "default")
    for layer in layers:
        try:
            now = flatten(layer.build())
        except UsageError:
            continue  # it fits only together with a later layer
        given_keys = flatten(layer.tree)
        changed = [key for key in now if now[key] != before[key]]
        origins |= {key: layer.title if key in given_keys else "auto" for key in changed}
        before = now
    return ConfigProvenance(final, origins)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration (draft 2020-12), each key with its description."""
    schema = Config.model_json_schema()
    sections = {kind.__name__: kind for kind in Section.__subclasses__()}
    for name, tree in {**schema["$defs"], "Config": schema}.items():
        described = _attributes(sections[name])
        tree["description"] = inspect.cleandoc(tree["description"]).partition("\n\nAttributes:")[0]
        for key, entry in tree["properties"].items():
            if key in described:
                entry["description"] = described[key]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _attributes(kind: type) -> dict[str, str]:
    """Return what a class's docstring says of its attributes, each in one line."""
    _, _, listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    entries = re.split(r"^    (?=\w+: )", listed, flags=re.MULTILINE)
    pairs = (entry.partition(": ") for entry in entries if entry.strip())
    return {name: " ".join(text.split()) for name, _, text in pairs}
