"""Studies that users define, in TOML files (docs/ablations.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import Field, ValidationError

from dprd_cli.config.fields import Section
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import flatten, known_keys, nest, read_toml
from dprd_cli.errors import UsageError, did_you_mean, short_repr
from dprd_cli.studies.catalog import GROUPS, STUDIES
from dprd_cli.studies.study import Study, Variant

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SECTIONS = ("model", "data", "train")


class _VariantTable(Section):
    """A `[variants.NAME]` table.

    Attributes:
        label: Its name in tables; the table's own by default.
        preset: Architecture; the study's by default.
        base: Name of the variant that it is compared with; the first by default.
        part_offsets: `mean` or `reference` measures the base's trained network so, and trains nothing.
        paper: Metric -> a number to show beside.
        model: Config overrides, as are the others.
    """

    label: str = ""
    preset: str = ""
    base: str | None = None
    part_offsets: Literal["learned", "mean", "reference"] = "learned"
    paper: dict[str, float] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


class _StudyTable(Section):
    """A study file; `docs/ablations.md` explains each key."""

    title: str = ""
    note: str = ""
    preset: str = "cascade-dprd"
    plot: Literal["bars", "curve", "parts"] = "bars"
    columns: tuple[str, ...] = ("bbox_AP", "segm_AP")
    pairs: tuple[tuple[str, str], ...] = ()
    measures_offsets: bool = False
    variants: dict[str, _VariantTable] = Field(min_length=1)


def read_study(path: Path) -> Study:
    """Read a study from a TOML file; the file's name without its ending is the study's.

    Raises:
        UsageError: One line: the file, what is wrong, and a suggestion.
    """
    tree = read_toml(path)
    name = path.stem
    if name in STUDIES or name in GROUPS or not _NAME.fullmatch(name):
        raise UsageError(f"{path}: '{name}' cannot name a study of yours; rename the file")
    try:
        table = _StudyTable.model_validate(tree)
    except ValidationError as error:
        _explain(path, error)
    keys = list(table.variants)
    variants = tuple(_variant(path, table, key, first=keys[0]) for key in keys)
    for names, what in (
        *(((variant.base,), f"variants.{variant.key}.base") for variant in variants if variant.base),
        *((pair, "pairs") for pair in table.pairs),
    ):
        for other in names:
            if other not in keys:
                raise UsageError(f"{path}: {what}: no variant '{other}'{did_you_mean(other, keys)}")
    if table.plot == "curve" and len({tuple(variant.overrides) for variant in variants}) != 1:
        raise UsageError(f'{path}: plot = "curve" needs variants that all set the same one key')
    return Study(
        name=name,
        title=table.title or name,
        source="",
        variants=variants,
        columns=table.columns,
        pairs=table.pairs,
        plot=table.plot,
        measures_offsets=table.measures_offsets,
        note=table.note,
    )


def _variant(path: Path, table: _StudyTable, key: str, *, first: str) -> Variant:
    found = table.variants[key]
    if not _NAME.fullmatch(key):
        raise UsageError(f"{path}: variants.'{key}' names folders; use letters, digits, '-', '_' and '.'")
    overrides = flatten({section: getattr(found, section) for section in _SECTIONS})
    known = list(known_keys())
    for dotted in overrides:
        if dotted not in known:
            hint = did_you_mean(dotted, known)
            raise UsageError(f"{path}: variants.{key}: no config key '{dotted}'{hint}")
        _check_value(path, key, dotted, overrides[dotted])
    base = found.base if found.base is not None else (first if key != first else "")
    if base == key:
        raise UsageError(f"{path}: variants.{key}: its base is itself")
    if found.part_offsets != "learned" and (not base or overrides or found.preset):
        raise UsageError(
            f'{path}: variants.{key}: part_offsets = "{found.part_offsets}" measures the base\'s network; '
            "give it a base, and neither preset nor overrides"
        )
    own = overrides
    preset = found.preset or table.preset
    if found.part_offsets != "learned" and base in table.variants:
        trained = _variant(path, table, base, first=first)
        own, preset = dict(trained.overrides), trained.preset
    return Variant(
        key=key,
        label=found.label or key,
        preset=preset,
        overrides=own,
        base=base,
        changes=tuple(overrides),
        part_offsets=found.part_offsets,
        paper=found.paper,
    )


def _check_value(path: Path, key: str, dotted: str, value: Any) -> None:
    """Name the variant whose value does not fit; keys that must fit each other are checked once resolved."""
    try:
        Config.model_validate(nest(dotted, value))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] != "value_error":
            message = f"{path}: variants.{key}: {dotted} = {short_repr(value)}: {first['msg']}"
            raise UsageError(message) from error


def _explain(path: Path, error: ValidationError) -> NoReturn:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        inner = len(first["loc"]) > 1
        known = (_VariantTable if inner else _StudyTable).model_fields
        hint = did_you_mean(str(first["loc"][-1]), known)
        raise UsageError(f"{path}: no key '{place}' in a study{hint}") from error
    if first["type"] == "missing":
        raise UsageError(f"{path}: no [variants.NAME] table; a study needs at least one") from error
    raise UsageError(f"{path}: {place} = {short_repr(first['input'])}: {first['msg']}") from error
