"""Text files of any system."""

from __future__ import annotations

import codecs
from pathlib import Path

# UTF-32's mark begins with UTF-16's
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def has_mark(content: bytes) -> bool:
    """Whether a text begins with a byte order mark."""
    return content.startswith(tuple(_MARKS))


def decode(content: bytes) -> str:
    """Return a text by its byte order mark, as Windows' programs write it (PowerShell's `>`); else by UTF-8.

    Raises:
        UnicodeDecodeError: If it is no such text.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    return content.decode(encoding).replace("\r\n", "\n")


def read_text(path: Path) -> str:
    """Return a file's text; see `decode`.

    Raises:
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is no text.
    """
    return decode(path.read_bytes())
