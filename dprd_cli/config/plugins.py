"""Plugins: a user's own files and modules, which register parts of their own (docs/extend.md).

A plugin is code. It runs where its user names it, on the command line or in a call; and where his own run's
`config.toml` does, if this very code was named before on this computer. A checkpoint or a configuration from
elsewhere only says which plugin it needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dprd_cli.config.registry import REGISTRIES
from dprd_cli.errors import DprdWarning, UsageError, UserError, short_repr
from dprd_cli.files.atomic import write_bytes
from dprd_cli.files.cache import cache_folder
from dprd_cli.runtime.progress import LOGGER
from dprd_cli.runtime.ranks import rank

_LOADED: dict[str, ModuleType] = {}
_MOST = 64
_LARGEST = 2**20  # bytes of a plugin's file that somebody else's configuration may name


class PluginNeededError(UsageError):
    """A plugin whose code was not run, because nobody asked for it here."""


def load_plugins(specs: Iterable[str], *, aloud: bool = True) -> tuple[str, ...]:
    """Run plugins that the user named, each once, and say so.

    Args:
        specs: Python files (`mine.py`), or modules that are installed (`my_package.parts`).
        aloud: Say so; a process that only helps another does not repeat it.

    Returns:
        What a configuration calls each: a file's full path, or the module.

    Raises:
        UsageError: If there is none of that name.
        UserError: If its code fails; what it had registered is taken back.
    """
    names = tuple(dict.fromkeys(_full_name(spec) for spec in specs))
    for name in names:
        if name not in _LOADED:
            source = _source(name)
            _run(name, source, aloud=aloud)
            _remember(_fingerprint(name, source))
    return names


def loaded_plugins() -> tuple[str, ...]:
    """Return the plugins that were run, for processes that are to run them too."""
    return tuple(_LOADED)


def load_own_plugins(names: Sequence[str]) -> None:
    """Run the plugins that a run's own `config.toml` names, as far as their code was named before.

    Args:
        names: From `config.toml`.
    """
    known = _known() if names else []
    for name in names:
        if is_loaded(name) or (_is_file(name) and not os.path.isfile(name)):
            continue
        with contextlib.suppress(OSError):
            if _is_file(name) and os.path.getsize(name) > _LARGEST:
                continue  # a run may be a stranger's, and name any file
            source = _source(name)
            if _fingerprint(name, source) in known:
                _run(name, source)


def is_loaded(name: str) -> bool:
    """Whether a plugin that a configuration names was run; a file may lie elsewhere by now."""
    return name in _LOADED or (_is_file(name) and any(_same_file_name(name, one) for one in _LOADED))


def with_plugins(recorded: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return a configuration's plugins with those given now, which take the place of files of their name."""
    kept = [name for name in recorded if not any(_same_file_name(name, one) for one in given)]
    return list(dict.fromkeys((*kept, *given)))


def named_plugins(tree: Mapping[str, Any]) -> list[str]:
    """Return the plugins that values of a configuration name; whatever they are, nothing else."""
    names = tree.get("plugins")
    names = [names] if isinstance(names, str) else names
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []
    return texts[:_MOST]


def check_plugins(tree: Mapping[str, Any], origin: str) -> None:
    """Check that the plugins that values of a configuration name were run.

    Args:
        tree: The values.
        origin: Where they are from, for the message.

    Raises:
        PluginNeededError: If one was not, with the option that runs it.
    """
    for name in named_plugins(tree):
        if not is_loaded(name):
            gone = _is_file(name) and not os.path.isfile(name)
            shown = shlex.quote(name.replace("\\", "/").rpartition("/")[2] if gone else name)
            raise PluginNeededError(
                f"{origin}: needs the plugin {shown}, whose code runs only if you name it: --plugin {shown}"
            )


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name or os.sep in name


def _same_file_name(first: str, second: str) -> bool:
    ends = [name.replace("\\", "/").rpartition("/")[2] for name in (first, second)]
    return first == second or (_is_file(first) and _is_file(second) and ends[0] == ends[1])


def _full_name(spec: str) -> str:
    if not _is_file(spec):
        return spec
    if not os.path.isfile(spec):
        raise UsageError(f"--plugin {short_repr(spec)}: no such file")
    return str(Path(spec).resolve())


def _source(name: str) -> bytes:
    """Return a plugin's code, of which what runs and its fingerprint are made; nothing of a module."""
    return Path(name).read_bytes() if _is_file(name) else b""


def _run(name: str, source: bytes, *, aloud: bool = True) -> None:
    before = {kind: (dict(one), dict(one.from_plugins)) for kind, one in REGISTRIES.items()}
    if aloud and rank() == 0:  # as a warning, because that is heard whatever was silenced
        LOGGER.warning("plugin %s: running its code", name)
    try:
        module = _execute(name, source) if _is_file(name) else _import(name)
    except Exception as error:
        for kind, (makers, owners) in before.items():
            REGISTRIES[kind].reset(makers, owners)
        if isinstance(error, UserError):
            raise type(error)(f"--plugin {name}: {error}") from error
        line = _line_of(error, name)
        raise UserError(f"--plugin {name}: {type(error).__name__}: {error}{line}; mend the plugin") from error
    _LOADED[name] = module
    if all(one.from_plugins == before[kind][1] for kind, one in REGISTRIES.items()):
        warnings.warn(f"plugin {name}: registers nothing (docs/extend.md)", DprdWarning, stacklevel=2)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UsageError("no such module is installed; a file's name ends in .py") from error
        raise
    except (ValueError, TypeError) as error:
        raise UsageError("not the name of a module") from error


def _execute(name: str, source: bytes) -> ModuleType:
    """Run exactly this code as a module: nothing that was compiled before and lies beside the file."""
    title = f"dprd_plugin_{hashlib.sha256(name.encode()).hexdigest()[:8]}_{Path(name).stem}"
    module = ModuleType(title)
    module.__file__ = name
    sys.modules[title] = module  # dataclasses and pickle look there
    try:
        exec(compile(source, name, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[title]
        raise
    return module


def _line_of(error: Exception, name: str) -> str:
    """Return where in a plugin's file an error arose, in words."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def _known_file() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "plugins.txt"


def _fingerprint(name: str, source: bytes) -> str:
    """Return what tells a plugin's code from any other: a file's SHA-256; a module is what is installed."""
    return hashlib.sha256(source).hexdigest() if _is_file(name) else f"module {name}"


def _known() -> list[str]:
    path = _known_file()
    try:
        return [] if path is None else path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _remember(mark: str) -> None:
    path = _known_file()
    with contextlib.suppress(OSError, UserError):  # then it has to be named the next time too
        known = _known()
        if path is not None and mark not in known:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, "".join(f"{one}\n" for one in (*known, mark)).encode())
