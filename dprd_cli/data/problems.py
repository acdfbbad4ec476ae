"""Collecting what is wrong with annotations, to say it in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dprd_cli.errors import DataError


class Problems:
    """Errors by kind: the first of each in words, and who else has it.

    Args:
        source: The file that all of them are in; None where each message begins with its own.
    """

    def __init__(self, source: Path | None = None) -> None:
        self.source = source
        self.kinds: dict[str, tuple[str, list[str]]] = {}

    def add(self, kind: str, message: str, who: object) -> None:
        """Record one error; `message` is kept for the first of its kind."""
        self.kinds.setdefault(kind, (message, []))[1].append(str(who))

    def stop(self, advice: str = "correct the file") -> None:
        """Raise the first kind found, if any.

        Raises:
            DataError: One line: the first problem, how many of its kind, and how many of others.
        """
        if not self.kinds:
            return
        (message, who), *others = self.kinds.values()
        more = f" ({len(who)} such: {first_five(who)})" if len(who) > 1 else ""
        rest = sum(len(names) for _, names in others)
        also = f"; {plural(rest, 'other problem')}" if rest else ""
        start = f"{self.source}: " if self.source else ""
        raise DataError(f"{start}{message}{more}{also}; {advice}")


def first_five(items: Iterable[object]) -> str:
    """Join the first five of `items`, and say that there are more where there are."""
    words = [str(item) for item in items]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def plural(number: int, word: str) -> str:
    """Return "1 word" or "3 words"."""
    ending = "" if number == 1 else ("es" if word.endswith(("s", "x")) else "s")
    return f"{number} {word}{ending}"


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        what: What it should hold, for the message.

    Raises:
        DataError: If it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the {what} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error
