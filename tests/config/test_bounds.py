"""Every number of the configuration has bounds, so that no file can ask for a network without end."""

import typing

import annotated_types
import pytest
from pydantic import BaseModel

from dprd_cli.config.presets import PRESETS, SCHEDULES, resolve
from dprd_cli.config.schema import Config
from dprd_cli.config.tree import known_keys, nest, validate
from dprd_cli.errors import UsageError


def default(key):
    value = Config()
    for name in key.split("."):
        value = getattr(value, name)
    return value


def numbers(section=Config, prefix=""):
    """Yield the dotted key of each number, and its bounds; of tuples, those of the entries."""
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from numbers(kind, f"{prefix}{name}.")
        else:
            yield from parts(f"{prefix}{name}", kind, info.metadata)


def parts(key, kind, metadata):
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from parts(key, arguments[0], [*metadata, *arguments[1:]])
    elif origin is tuple:
        for one in arguments:
            if one is not Ellipsis:
                yield from parts(key, one, [])
    elif kind in (int, float):
        yield (
            key,
            [one for each in metadata for one in (each.metadata if hasattr(each, "metadata") else [each])],
        )


BOUNDS = list(numbers())


@pytest.mark.parametrize(("key", "bounds"), BOUNDS, ids=[key for key, _ in BOUNDS])
def test_every_number_is_bounded(key, bounds):
    kinds = {type(bound) for bound in bounds}
    assert kinds & {annotated_types.Gt, annotated_types.Ge}
    assert kinds & {annotated_types.Lt, annotated_types.Le}


def test_tuples_of_any_length_have_a_longest():
    for key in known_keys():
        value = default(key)
        if isinstance(value, tuple):
            with pytest.raises(UsageError, match=key.rpartition(".")[2]):
                validate(nest(key, [value[0] if value else 1] * 2000))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e12, -1e12, 10**30])
@pytest.mark.parametrize("key", sorted({key for key, _ in BOUNDS}))
def test_nothing_is_infinite(key, value):
    usual = default(key)
    value = [value] * max(1, len(usual)) if isinstance(usual, tuple) else value
    with pytest.raises(UsageError) as caught:
        validate(nest(key, value))
    assert str(caught.value).startswith(f"config: {key}")


def test_what_contains_itself_is_named_in_a_line():
    bomb: list = []
    for _ in range(10):
        bomb = [bomb] * 10
    with pytest.raises(UsageError) as caught:
        validate({"model": {"neck": {"channels": bomb}}})
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_all_that_is_named_is_within(preset, schedule):
    resolve(preset=preset, schedule=schedule)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "9" * 5000,
        "x = " + "[" * 100_000,
        "a" + ".a" * 50_000 + " = {}",
        "x = {" + "'a b' . " * 50_000 + "a = 1}",
        "[" + '"a".' * 50_000 + "a]",
        "x = \x00",
        "x = 0x" + "f" * 9000,
    ],
)
def test_toml_that_is_no_config_is_one_line(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve(config_file=path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(UsageError):
        resolve(overrides=["model.neck.channels=" + text.partition("= ")[2]])
