"""Files by path and by URL; fsspec's `memory:` stands for an object store."""

import contextlib
import io
import os
import uuid

import pytest

from dprd_cli.distributed.storage import (
    LocalFolder,
    RemoteFolder,
    file_size,
    files_at,
    is_url,
    read_file,
    results_place,
)
from dprd_cli.errors import DataError, ResourceError


@pytest.fixture
def bucket():
    """Give a prefix of which nothing is left afterwards."""
    fsspec = pytest.importorskip("fsspec")
    name = f"memory://{uuid.uuid4().hex}"
    yield name
    system, place = fsspec.core.url_to_fs(name)
    if system.exists(place):
        system.rm(place, recursive=True)


def test_what_is_a_url():
    assert is_url("s3://a/b.jpg")
    assert not is_url("a/b.jpg")
    assert not is_url("C:\\a.jpg")


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_results_are_written_listed_and_read(kind, bucket, tmp_path):
    place = results_place(bucket if kind == "remote" else str(tmp_path / "new" / "out"))
    assert isinstance(place, RemoteFolder if kind == "remote" else LocalFolder)
    assert place.names() == []
    place.write("job.json", b"{}")
    place.write("part=000/piece-000000.x", b"old")
    place.write("part=000/piece-000000.x", b"new")
    assert sorted(place.names()) == ["job.json", "part=000/piece-000000.x"]
    assert place.read("part=000/piece-000000.x") == b"new"


def test_what_a_killed_worker_leaves_is_no_result(tmp_path, monkeypatch):
    place = LocalFolder(tmp_path)

    def die(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dprd_cli.distributed.storage.Path.replace", die)
        with pytest.raises(KeyboardInterrupt):
            place.write("part=000/a.x", b"content")
    assert not (tmp_path / "part=000" / "a.x").exists()
    assert all(name.rpartition("/")[2].startswith(".") for name in place.names())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="rights do not bind here")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="cannot"):
        LocalFolder(tmp_path).write("a.x", b"")


def test_folders_globs_and_files_stand_for_files(tmp_path, bucket):
    for name in ("b.jpg", "a.JPG", "inner/c.jpg", "note.txt"):
        RemoteFolder(bucket).write(name, b"x")
        LocalFolder(tmp_path).write(name, b"x")
    for place in (str(tmp_path), bucket):
        end = place.rpartition("/")[2]
        found = [name.rpartition(end)[2] for name in files_at(place, (".jpg",))]
        assert found == ["/a.JPG", "/b.jpg", "/inner/c.jpg"]
        assert [name[-5:] for name in files_at(f"{place}/*.jpg", (".jpg",))] == ["b.jpg"]
        assert files_at(f"{place}/note.txt", (".jpg",)) == [f"{place}/note.txt"]
        assert read_file(f"{place}/b.jpg") == b"x"
        assert file_size(f"{place}/b.jpg") == 1


@pytest.mark.parametrize("name", ["nothing", "memory://nothing-of-that-name"])
def test_what_is_not_there_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (read_file, file_size, lambda name: files_at(name, (".jpg",))):
        with pytest.raises(DataError, match=f"^{name}: "):
            read(name)


def test_a_file_that_is_larger_than_may_be_is_refused(bucket):
    RemoteFolder(bucket).write("a.jpg", b"1234")
    assert read_file(f"{bucket}/a.jpg", 4) == b"1234"
    with pytest.raises(DataError, match=f"^{bucket}/a.jpg: more than 0 MiB"):
        read_file(f"{bucket}/a.jpg", 3)


def test_a_scheme_that_nobody_knows():
    with pytest.raises(DataError, match=r"^nosuch://a/b: .*; give a path, or a URL that fsspec opens"):
        read_file("nosuch://a/b")


def test_what_is_read_whole_is_asked_for_without_a_number(monkeypatch):
    class ArrowFile(io.BytesIO):  # as pyarrow 26's
        def read(self, *size):
            if size and size[0] < 0:
                raise SystemError("Negative size passed to PyBytes_FromStringAndSize")
            return super().read(*size)

    @contextlib.contextmanager
    def opened(name):
        yield ArrowFile(b"content")

    monkeypatch.setattr("dprd_cli.distributed.storage.reading", opened)
    assert read_file("s3://a/b") == read_file("s3://a/b", 7) == b"content"
