import threading
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


def test_too_large_and_too_slow(server, monkeypatch):
    monkeypatch.setattr(remote, "MAX_SECONDS", -1.0)
    with pytest.raises(DataError, match=r"/a.png: no end after"):
        read_url(f"{server}/a.png")
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
