"""What the shell offers for options' values; nothing here may import torch, because it runs at every TAB."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def presets(incomplete: str) -> list[str]:
    """Return the presets that start so."""
    from dprd_cli.config.presets import PRESETS

    return _starting(PRESETS, incomplete)


def schedules(incomplete: str) -> list[str]:
    """Return the schedules that start so."""
    from dprd_cli.config.presets import SCHEDULES

    return _starting(SCHEDULES, incomplete)


def keys(incomplete: str) -> list[str]:
    """Return the config keys that start so, as `KEY=`."""
    from dprd_cli.config.tree import known_keys

    return _starting((f"{key}=" for key in known_keys()), incomplete)


def data_keys(incomplete: str) -> list[str]:
    """Return the keys of the data section that start so, as `KEY=`."""
    return [key for key in keys(incomplete) if key.startswith("data.")]


def weights(incomplete: str) -> list[str]:
    """Return the included detectors and the run folders that start so; the shell adds files by itself."""
    from dprd_cli.weights.included import INCLUDED

    runs = sorted(path.as_posix() for path in Path("runs").glob("*/") if any(path.glob("*.pt")))
    return _starting([*INCLUDED, *runs], incomplete)


def among(*words: str) -> Callable[[str], list[str]]:
    """Return what offers those of some words that start so."""

    def complete(incomplete: str) -> list[str]:
        return _starting(words, incomplete)

    return complete


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
