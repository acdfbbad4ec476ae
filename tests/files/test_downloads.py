import hashlib
import io
from types import MappingProxyType
from urllib.error import URLError

import pytest
import torch

from dprd_cli.errors import UserError
from dprd_cli.files.downloads import download_folder, fetch

CONTENT = b"\x80" + b"weights" * 1000 + b"."
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A file to download, by its URL; the download folder is an empty one."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    source = tmp_path / "source.pkl"
    source.write_bytes(CONTENT)
    return source


def test_a_file_is_downloaded_once(place):
    path = fetch(place.as_uri(), "kept.pkl", SHA256[:8])
    assert path == download_folder() / "kept.pkl"
    assert path.read_bytes() == CONTENT
    place.unlink()
    assert fetch(place.as_uri(), "kept.pkl", SHA256[:8]) == path


def test_it_is_told_how_far_a_download_is(place):
    told = []
    fetch(place.as_uri(), "kept.pkl", received=lambda *one: told.append(one))
    assert told == [(len(CONTENT), len(CONTENT))]
    fetch(place.as_uri(), "kept.pkl", received=lambda *one: told.append(one))
    assert len(told) == 1


def test_what_ends_too_soon_is_not_kept(place, monkeypatch):
    class Answer(io.BytesIO):
        headers = MappingProxyType({"Content-Length": str(len(CONTENT))})

    monkeypatch.setattr("dprd_cli.files.downloads.urlopen", lambda _: Answer(CONTENT[:100]))
    with pytest.raises(UserError, match=f"only 100 of {len(CONTENT)} bytes came"):
        fetch("https://example.org/kept.pth", "kept.pth")
    assert list(download_folder().iterdir()) == []


def test_another_file_than_was_published_is_refused(place):
    with pytest.raises(UserError, match=r"cannot download file:.*source\.pkl \(invalid hash value"):
        fetch(place.as_uri(), "kept.pkl", "00000000")
    assert not (download_folder() / "kept.pkl").exists()


def test_a_file_that_changed_is_refused(place):
    path = fetch(place.as_uri(), "kept.pkl")  # without a published checksum: the first download counts
    assert path.with_name("kept.pkl.sha256").read_text() == f"{SHA256}\n"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"kept\.pkl: its SHA-256 is .*; delete it to download it again"):
        fetch(place.as_uri(), "kept.pkl")


@pytest.mark.parametrize("content", [CONTENT[:-1], b"<html>log in</html>"], ids=["cut short", "a page"])
def test_what_is_no_pickle_is_not_kept(place, content):
    place.write_bytes(content)
    with pytest.raises(UserError, match="the answer is not the file, or was cut short"):
        fetch(place.as_uri(), "kept.pkl")
    assert not (download_folder() / "kept.pkl").exists()


def test_without_a_network(place, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise URLError("network is unreachable")

    monkeypatch.setattr("dprd_cli.files.downloads.urlopen", refuse)
    with pytest.raises(UserError) as caught:
        fetch("https://example.org/a/model.pkl", "model.pkl")
    message = str(caught.value)
    assert "https://example.org/a/model.pkl (network is unreachable)" in message
    assert f"put the file model.pkl into {download_folder()}" in message
    assert "\n" not in message
