"""One image from a URL: checked, bounded, and explained when it cannot be had."""

from __future__ import annotations

import contextlib
import socket
import ssl
from concurrent.futures import Future
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Lock, Thread
from typing import IO, Any
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
            end `MAX_SECONDS` after the call, however the time was spent: on the name, the handshake, headers
            or content.
    """
    # A thread of its own, because a name that is looked up cannot be interrupted; once time is up its
    # connection is cut, and it ends.
    connections = _Connections()
    content: Future[bytes] = Future()
    Thread(target=_finish, args=(content, url, connections), daemon=True).start()
    try:
        return content.result(MAX_SECONDS)
    except TimeoutError as error:
        raise DataError(f"{url}: no end after {MAX_SECONDS:.0f} s; download it and pass the file") from error
    finally:
        connections.cut()


def _finish(content: Future[bytes], url: str, connections: _Connections) -> None:
    try:
        content.set_result(_fetch(url, connections))
    except BaseException as error:  # it is raised where the content is waited for
        content.set_exception(error)


def _fetch(url: str, connections: _Connections) -> bytes:
    try:
        request = Request(url, headers={"User-Agent": f"dprd-cli/{__version__}", "Accept": "image/*"})
        with _opener(connections).open(request, timeout=TIMEOUT) as answer:
            kind = answer.headers.get_content_type()
            if not kind.startswith("image/") and kind != "application/octet-stream":
                raise DataError(f"{url}: not an image (its content type is {kind}); pass an image's address")
            return _read(answer, url)
    except HTTPError as error:
        raise DataError(f"{url}: the server answers {error.code} ({error.reason}); {_ADVICE}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise DataError(f"{url}: cannot download ({' '.join(reason.split())}); {_ADVICE}") from error


class _Connections:
    """The connections of one request, to cut them all from another thread: TLS handshakes too."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._lock = Lock()
        self._is_cut = False

    def add(self, connection: socket.socket) -> None:
        """Remember a connection, which may be made into another object later."""
        with self._lock:
            self._open.append(connection.dup())
        if self._is_cut:
            self.cut()

    def cut(self) -> None:
        """End all connections; whoever waits for one of them goes on with an error."""
        with self._lock:
            self._is_cut = True
            for connection in self._open:
                with contextlib.suppress(OSError), connection:
                    connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()


class _HttpConnection(HTTPConnection):
    connections: _Connections

    def connect(self) -> None:
        super().connect()
        self.connections.add(self.sock)


class _HttpsConnection(HTTPSConnection, _HttpConnection):
    """Connects as `_HttpConnection`, then does the handshake."""


class _HttpHandler(HTTPHandler):
    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections = connections

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, **options: Any) -> _HttpConnection:
        connection = _HttpConnection(host, **options)
        connection.connections = self._connections
        return connection


class _HttpsHandler(HTTPSHandler):
    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections, self._trust = connections, ssl.create_default_context()

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._connection, request)

    def _connection(self, host: str, **options: Any) -> _HttpsConnection:
        connection = _HttpsConnection(host, context=self._trust, **options)
        connection.connections = self._connections
        return connection


def _opener(connections: _Connections) -> OpenerDirector:
    """Return an opener for HTTP and HTTPS alone: no redirect leads to a file or to FTP."""
    opener = OpenerDirector()
    for kind in (ProxyHandler, HTTPRedirectHandler, HTTPErrorProcessor, HTTPDefaultErrorHandler):
        opener.add_handler(kind())
    opener.add_handler(_HttpHandler(connections))
    opener.add_handler(_HttpsHandler(connections))
    return opener


def _read(answer: IO[bytes], url: str) -> bytes:
    content = bytearray()
    while chunk := answer.read(2**16):
        content += chunk
        if len(content) > MAX_BYTES:
            raise DataError(f"{url}: more than {MAX_BYTES // 2**20} MiB; download it and pass the file")
    return bytes(content)
