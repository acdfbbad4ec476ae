"""Errors that a user can act on, and the exit code each one ends the program with."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_SHORT = reprlib.Repr()
_SHORT.maxlevel = _SHORT.maxdict = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_DIVERGED = 4
EXIT_RESOURCES = 5
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class DprdWarning(UserWarning):
    """A condition that the user should know of and that the program survives."""


class UserError(Exception):
    """One clear line: what is wrong, in which file or flag, and the next step.

    The command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = EXIT_FAILED


class UsageError(UserError):
    """A flag, preset, backbone or config key that does not exist or does not fit the others."""

    exit_code = EXIT_USAGE


class DataError(UserError):
    """Images or annotations that cannot be used as they are."""

    exit_code = EXIT_DATA


class DivergedError(UserError):
    """A loss that is no longer finite."""

    exit_code = EXIT_DIVERGED


class ResourceError(UserError):
    """No memory or no disk space left."""

    exit_code = EXIT_RESOURCES


class InterruptedRun(UserError):  # noqa: N818 (an outcome, not an error)
    """A signal asked the run to stop, and everything was saved first.

    Args:
        message: What was saved and how to go on.
        exit_code: `EXIT_INTERRUPTED` after SIGINT, `EXIT_TERMINATED` after SIGTERM.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def one_line(text: object, longest: int = 1500) -> str:
    r"""Return text as a terminal can show it on one line, whatever file it comes from.

    What is not printable (control characters and escape sequences, line ends, signs that turn the reading
    direction, halves of surrogate pairs) is written as Python would (`\x1b`, `\n`, `\u202e`). Of what is too
    long the middle is left out.

    Args:
        text: Anything.
        longest: Characters kept.
    """
    line = str(text)
    if len(line) > longest:
        line = f"{line[: longest * 2 // 3]} ... {line[-longest // 3 :]}"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def short_repr(value: object) -> str:
    """Return how Python writes a value, whatever its size: of containers and texts only the ends."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__} beyond all bounds"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short: Python's, CUDA's, or torch's RuntimeError on a CPU."""
    # by name, because torch may not be imported
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "allocate memory" in str(error)
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the nearest known word, or an empty string.

    Args:
        word: What the user wrote.
        known: The words that would have been right.
    """
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if not near and "." not in word:  # a bare key may be the last segment of a dotted one
        near = [name for name in known if name.rsplit(".", 1)[-1] == word][:1]
    return f" (did you mean '{near[0]}'?)" if near else ""
