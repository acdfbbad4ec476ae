import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from dprd_cli.errors import DataError, UsageError
from dprd_cli.inference.sources import Source, find_images, find_sources


def save(path, size=(100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)
    return path


def found(*inputs, **options):
    return [(source.kind, source.text) for source in find_sources(inputs, **options)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.png", "in/a.jpg", "in/deeper/c.png", "in/out/old.png"):
        save(tmp_path / name)
    (tmp_path / "in" / "clip.MP4").touch()
    return tmp_path


def test_inputs_are_files_folders_and_globs_each_image_once(tmp_path):
    b, a = save(tmp_path / "in" / "b.JPG"), save(tmp_path / "in" / "a.png")
    odd = tmp_path / "in" / "image.data"
    a.with_suffix(".txt").write_text("")
    save(tmp_path / "in" / "deeper" / "c.png")
    odd.write_bytes(a.read_bytes())
    folder = str(tmp_path / "in")
    assert find_images([folder]) == [a, b]
    assert find_images([str(b), folder, str(tmp_path / "in" / ".." / "in" / "a.png")]) == [b, a]
    assert find_images([f"{folder}/*"]) == [a, b]
    assert find_images([f"{folder}/**/*.png"]) == [a, tmp_path / "in" / "deeper" / "c.png"]
    assert find_images([str(odd)]) == [odd]  # a file named on its own may have any suffix


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path):
    path = save(tmp_path / "a[1].png")
    assert find_images([str(path)]) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.jpg", "nothing.jpg: no such file or folder"),
        ("empty", "empty: no images in this folder"),
        ("*.jpg", r"\*.jpg: no image matches"),
    ],
)
def test_inputs_that_are_not_there(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_images([str(tmp_path / name)])


def test_images_of_lists_and_of_folders_inside(folder, tmp_path):
    (tmp_path / "names.txt").write_text("in/b.png\nin/gone.png\n")
    listed = [Path("in/b.png"), Path("in/gone.png")]  # which reading will find out
    assert find_images(["@names.txt"]) == find_images([], lists=["names.txt"]) == listed
    inside = [Path("in/a.jpg"), Path("in/b.png"), Path("in/deeper/c.png")]
    assert find_images(["in"], recursive=True, leave_out=Path("in/out")) == inside
    assert find_images(["in/*"]) == inside[:2]  # of a glob, the images


@pytest.mark.parametrize(
    ("name", "what"),
    [("in/clip.MP4", "a video"), ("http://a.b/c.jpg", "a URL"), ("webcam:0", "a camera")],
)
def test_what_is_no_image_file_is_named(folder, name, what):
    with pytest.raises(UsageError, match=f"^{name}: {what}; only image files can be looked at here$"):
        find_images([name])


@pytest.mark.parametrize("scheme", ["rtsp", "ftp", "s3", "file"])
def test_schemes_that_are_not_read_are_named(scheme):
    with pytest.raises(
        DataError, match=f"^{scheme}://127.0.0.1/x: {scheme} is not supported; save it to a file"
    ):
        found(f"{scheme}://127.0.0.1/x")


def test_everything_that_can_be_looked_at_once_and_in_order(folder):
    assert found("webcam:0", "in", "HTTPS://a.b/c.jpg?d=1", "in/clip.MP4", "in/a.jpg", "webcam:0") == [
        ("webcam", "webcam:0"),
        ("image", "in/a.jpg"),
        ("image", "in/b.png"),
        ("url", "HTTPS://a.b/c.jpg?d=1"),
        ("video", "in/clip.MP4"),
    ]


def test_videos_come_by_name_or_glob_and_not_from_folders(folder):
    assert ("video", "in/clip.MP4") not in found("in")
    assert found("in/*.MP4") == [("video", "in/clip.MP4")]


def test_recursion_leaves_out_where_results_go(folder):
    texts = [text for _, text in found("in", recursive=True, leave_out=Path("in/out"))]
    assert texts == ["in/a.jpg", "in/b.png", "in/deeper/c.png"]
    assert len(found("in", recursive=True)) == 4
    (folder / "in" / "deeper" / "loop").symlink_to(folder / "in")
    assert len(found("in", recursive=True)) == 4  # links to folders are not followed
    (folder / "empty" / "empty").mkdir(parents=True)
    with pytest.raises(DataError, match="empty: no images in this folder"):
        found("empty", recursive=True)


def test_lists_of_names_are_taken_as_they_are(folder):
    Path("names.txt").write_bytes(b"in/b.png\r\n\n gone [1].png\nhttp://a.b/c.png\nin/*.jpg\nin/b.png\n")
    expected = [
        ("image", "in/b.png"),
        ("image", " gone [1].png"),
        ("url", "http://a.b/c.png"),
        ("image", "in/*.jpg"),
    ]
    assert found("@names.txt") == found(lists=["names.txt"]) == expected
    assert found("in/a.jpg", lists=["names.txt"])[0] == ("image", "in/a.jpg")
    save(folder / "@names.txt.png")
    assert found("@names.txt.png") == [("image", "@names.txt.png")]  # there is such an image


def test_names_on_standard_input_and_names_that_end_in_nul(folder, monkeypatch):
    odd = os.fsdecode(b"line\nbreak-\xff.png")
    content = os.fsencode(odd) + b"\0in/a.jpg\0"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert found("-", null=True) == [("image", odd), ("image", "in/a.jpg")]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"in/a.jpg\n")))
    assert found(lists=["-"]) == [("image", "in/a.jpg")]
    Path("null.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"null.txt: names that end in NUL; pass --null"):
        found("@null.txt")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_that_windows_has_written(folder, encoding):
    Path("names.txt").write_bytes("in/ä.jpg\r\nin/b.png\r\n".encode(encoding))
    assert found("@names.txt") == [("image", "in/ä.jpg"), ("image", "in/b.png")]


def test_lists_that_cannot_be_used(folder):
    Path("cut.txt").write_bytes(b"\xff\xfea")
    with pytest.raises(DataError, match=r"cut.txt: not a list of names \('utf-16"):
        found("@cut.txt")
    Path("blank.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"blank.txt: no names in this list"):
        found("@blank.txt")
    with pytest.raises(DataError, match=r"gone.txt: cannot read the list of names \(No such file"):
        found("@gone.txt")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Source("image", "in/a.jpg"), "in/a.jpg"),
        (Source("webcam", "webcam:2"), "webcam-2"),
        (Source("url", "https://a.b/c/d%20e.jpg?f=g"), "d-e.jpg"),
        (Source("url", "https://a.b/"), "a.b"),
        (Source("url", "https://a.b/..%2F..%2Fetc%2Fpasswd"), "passwd"),
        (Source("url", "https://a.b/%2e%2e"), "url"),
        (Source("url", "https://a.b/%00x"), "-x"),
    ],
)
def test_results_are_named_after_a_path_that_leads_nowhere_else(source, name):
    assert source.path == Path(name)
