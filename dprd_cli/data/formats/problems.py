"""Collecting what is wrong with a data set, to say it in one line or in a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dprd_cli.errors import DataError

Severity = Literal["error", "warning", "note"]


@dataclass(slots=True)
class Problem:
    """One kind of thing that is odd about a data set, with everybody who has it.

    Attributes:
        kind: A word for programs, such as `category`.
        severity: `error` (cannot be used), `warning` (something is left out or changed) or `note`.
        message: An error: the first one in words. Else, or where it counts, the whole line.
        who: Annotation ids or files; empty where it concerns all.
        file: The file that it is in; empty where the message begins with its own.
        advice: What to do about it.
        counts: Whether the message counts and names them already.
    """

    kind: str
    severity: Severity
    message: str
    who: list[str]
    file: str = ""
    advice: str = ""
    counts: bool = False

    @property
    def number(self) -> int:
        """How many have it."""
        return max(1, len(self.who))

    def line(self) -> str:
        """Return the message with the number of its kind, and the first five."""
        if self.counts or len(self.who) <= 1:
            return self.message
        return f"{self.message} ({len(self.who)} such: {first_five(self.who)})"

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        found = {"kind": self.kind, "severity": self.severity, "count": self.number}
        said = {"message": self.message, "first": self.who[:5], "source": self.file}
        return found | said | {"advice": self.advice}


class Problems:
    """What is odd about a data set, by kind.

    Args:
        file: The file that errors are in; None where each message begins with its own.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.kinds: dict[str, Problem] = {}

    def add(self, kind: str, message: str, who: object, advice: str = "correct the file") -> None:
        """Record one error; `message` is kept for the first of its kind."""
        new = Problem(kind, "error", message, [], str(self.file or ""), advice)
        self.kinds.setdefault(kind, new).who.append(str(who))

    def count(
        self, kind: str, message: str, who: Iterable[object], severity: Severity = "warning", advice: str = ""
    ) -> None:
        """Record all of a kind at once, in a line that counts them and names the first.

        Args:
            kind: A word for programs.
            message: The line.
            who: Annotation ids or files.
            severity: How severe each of them is.
            advice: What to do about it.
        """
        names = [str(one) for one in who]
        self.kinds[kind] = Problem(kind, severity, message, names, str(self.file or ""), advice, counts=True)

    def take(self, kind: str, error: DataError) -> None:
        """Record an error that stopped a part of the check."""
        self.kinds.setdefault(kind, Problem(kind, "error", str(error), []))

    def extend(self, other: Problems) -> None:
        """Take over what another collection has; of a kind in both, the first stays in words."""
        for kind, problem in other.kinds.items():
            mine = self.kinds.setdefault(kind, problem)
            if mine is not problem:
                mine.who += problem.who

    def of(self, severity: Severity) -> list[Problem]:
        """Return the problems of a severity, in the order of their discovery."""
        return [problem for problem in self.kinds.values() if problem.severity == severity]

    @property
    def warnings(self) -> list[str]:
        """Lines to print before data is used."""
        return [problem.line() for problem in self.of("warning")]

    def stop(self) -> None:
        """Raise the first error found, if any.

        Raises:
            DataError: One line: the first problem, how many of its kind, and how many of others.
        """
        if not self.of("error"):
            return
        first, *others = self.of("error")
        rest = sum(problem.number for problem in others)
        also = f"; {plural(rest, 'other problem')}" if rest else ""
        start = f"{first.file}: " if first.file else ""
        raise DataError(f"{start}{first.line()}{also}; {first.advice}")


def first_five(items: Iterable[object]) -> str:
    """Join the first five of `items`, and say that there are more where there are."""
    words = [str(item) for item in items]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def plural(number: int, word: str) -> str:
    """Return "1 word" or "3 words"."""
    if number == 1:
        return f"{number} {word}"
    if word.endswith("ory"):
        return f"{number} {word[:-1]}ies"
    return f"{number} {word}{'es' if word.endswith(('s', 'x')) else 's'}"
