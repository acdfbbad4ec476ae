"""One image from a URL: checked, bounded, and explained when it cannot be had."""

from __future__ import annotations

import time
from http.client import HTTPException
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from dprd_cli.errors import DataError
from dprd_cli.version import __version__

MAX_BYTES = 64 * 2**20
TIMEOUT = 20.0  # seconds without an answer
MAX_SECONDS = 120.0  # for one image
_ADVICE = "check the address and the network, or pass a file"


def read_url(url: str) -> bytes:
    """Return the bytes of an image on the web.

    Args:
        url: `http://` or `https://`; redirects to anything else are refused.

    Raises:
        DataError: If there is no answer, another content type than an image's, more than `MAX_BYTES`, or no
            end after `MAX_SECONDS`.
    """
    try:
        request = Request(url, headers={"User-Agent": f"dprd-cli/{__version__}", "Accept": "image/*"})
        with _opener().open(request, timeout=TIMEOUT) as answer:
            kind = answer.headers.get_content_type()
            if not kind.startswith("image/") and kind != "application/octet-stream":
                raise DataError(f"{url}: not an image (its content type is {kind}); pass an image's address")
            return _read(answer, url)
    except HTTPError as error:
        raise DataError(f"{url}: the server answers {error.code} ({error.reason}); {_ADVICE}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise DataError(f"{url}: cannot download ({' '.join(reason.split())}); {_ADVICE}") from error


def _opener() -> OpenerDirector:
    """Return an opener for HTTP and HTTPS alone: no redirect leads to a file or to FTP."""
    opener = OpenerDirector()
    handlers = (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPRedirectHandler, HTTPErrorProcessor)
    for handler in (*handlers, HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    return opener


def _read(answer: IO[bytes], url: str) -> bytes:
    end, content = time.monotonic() + MAX_SECONDS, bytearray()
    while chunk := answer.read(2**16):
        content += chunk
        if len(content) > MAX_BYTES:
            raise DataError(f"{url}: more than {MAX_BYTES // 2**20} MiB; download it and pass the file")
        if time.monotonic() > end:
            raise DataError(f"{url}: no end after {MAX_SECONDS:.0f} s; download it and pass the file")
    return bytes(content)
