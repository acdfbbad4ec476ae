import contextlib
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dprd_cli.errors import DataError
from dprd_cli.inference import url as remote
from dprd_cli.inference.url import read_url


class Pages(BaseHTTPRequestHandler):
    """What the tests ask for, by path."""

    def do_GET(self):
        if self.path == "/moved":
            return self.answer(302, location="/a.png")
        if self.path == "/to-a-file":
            return self.answer(302, location="file:///etc/hostname")
        if self.path == "/page":
            return self.answer(200, kind="text/html; charset=utf-8")
        if self.path == "/endless":
            return self.answer(200, body=b"x" * 4000)
        return self.answer(200 if self.path in ("/a.png", "/raw") else 404, raw=self.path == "/raw")

    def answer(self, code, kind="image/png", body=b"image", location="", raw=False):
        self.send_response(code)
        self.send_header("Content-Type", "application/octet-stream" if raw else kind)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("path", ["/a.png", "/moved", "/raw"])
def test_an_image(server, path):
    assert read_url(server + path) == b"image"


def test_other_content(server):
    with pytest.raises(DataError, match="/page: not an image \\(its content type is text/html\\); pass"):
        read_url(f"{server}/page")


def test_no_such_page(server):
    with pytest.raises(DataError, match=r"/gone: the server answers 404 \(Not Found\); check the address"):
        read_url(f"{server}/gone")


def test_redirects_lead_to_http_alone(server):
    with pytest.raises(DataError, match="/to-a-file: "):
        read_url(f"{server}/to-a-file")


def test_too_large(server, monkeypatch):
    monkeypatch.setattr(remote, "MAX_BYTES", 3999)
    with pytest.raises(DataError, match="/endless: more than 0 MiB; download it and pass the file"):
        read_url(f"{server}/endless")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "http://", "http://[x/a.png", "http://a b/c"])
def test_no_answer(url):
    with pytest.raises(DataError) as caught:
        read_url(url)
    message = str(caught.value)
    assert message.startswith(f"{url}: cannot download (")
    assert message.endswith("); check the address and the network, or pass a file")


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
SLOW = {
    "body": (HEADERS + b"Content-Length: 100000\r\n\r\n", b"x"),
    "chunks": (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "headers": (HEADERS + b"X: ", b"x"),
    "status": (b"", b"H"),
    "nothing at all": (b"", b""),
}


@contextmanager
def slow_server(opening, drop):
    """Say `opening`, then `drop` every 20 ms until the connection is cut; yields the port and that event."""
    listener, cut = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.02)
            connection.sendall(opening)
            while True:
                connection.sendall(drop)
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(4096):
                        break
        cut.set()

    with listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], cut
        thread.join(10)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", SLOW)
def test_whoever_drips_is_cut_at_the_promised_time(monkeypatch, kind, scheme):
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.5)
    opening, drop = SLOW[kind]
    if scheme == "https":  # a handshake that begins well
        opening, drop = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xf0", drop and b"\0"
    with slow_server(opening, drop) as (port, cut):
        started = time.monotonic()
        url = f"{scheme}://127.0.0.1:{port}/a.png"
        with pytest.raises(DataError, match=f"^{url}: no end after 0 s; download it and pass the file$"):
            read_url(url)
        assert 0.4 < time.monotonic() - started < 5
        assert cut.wait(5)  # no thread is left that reads on


def test_a_name_that_is_never_found_out(monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: waiting.wait(20))
    with pytest.raises(DataError, match="no end after"):
        read_url("http://example.invalid/a.png")
    waiting.set()
