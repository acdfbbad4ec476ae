"""How inputs are cut: all images, each once, in the same pieces each time."""

import io
import os
import pickle
import tarfile

import pytest

from dprd_cli.distributed.pieces import IDS_OF_TAR, find_content, numbered_pieces
from dprd_cli.errors import DataError, UsageError


def pieces_of(inputs=(), lists=(), size=3, **more):
    return list(numbered_pieces(find_content(list(inputs), [str(one) for one in lists], [], size, **more)))


def looked_at(pieces):
    return [(item.name, item.image_id) for piece in pieces for item in piece.items()]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize("null", [False, True])
def test_the_pieces_of_a_list_are_the_list(tmp_path, size, null):
    names = [f"a b/{number}.jpg" for number in range(10)] + ["s3://x/y.jpg", os.fsdecode(b"\xff.jpg")]
    end = "\0" if null else "\n"
    for text in (end.join(names), end.join(names) + end, end.join(["", *names, ""]) + end):
        (tmp_path / "list").write_bytes(os.fsencode(text))
        pieces = pieces_of(lists=[tmp_path / "list"], size=size, null=null)
        assert [piece.number for piece in pieces] == list(range(len(pieces)))
        assert looked_at(pickle.loads(pickle.dumps(pieces))) == list(zip(names, range(1, 13), strict=True))
        assert repr(pieces) == repr(pieces_of(lists=[tmp_path / "list"], size=size, null=null))


def test_lists_that_windows_has_written(tmp_path):
    (tmp_path / "list").write_bytes(b"a.jpg\r\nb.jpg\r\n")
    assert looked_at(pieces_of(lists=[tmp_path / "list"])) == [("a.jpg", 1), ("b.jpg", 2)]


def test_a_list_that_changes_while_the_job_runs_is_told(tmp_path):
    (tmp_path / "list").write_text("a.jpg\nb.jpg\n")
    pieces = pieces_of(lists=[tmp_path / "list"])
    (tmp_path / "list").write_text("a.jpg\nc.jpg\n")
    with pytest.raises(DataError, match="was changed while the job ran"):
        looked_at(pieces)


def save_tar(path, *names):
    with tarfile.open(path, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 600
            archive.addfile(info, io.BytesIO(name.encode().ljust(600)))


def test_tar_files_are_pieces_and_their_images_are_read_in_order(tmp_path):
    save_tar(tmp_path / "0.tar", "1.jpg", "1.json", "2.png")
    save_tar(tmp_path / "1.tar", "sub/3.jpg")
    pieces = pieces_of([str(tmp_path)])
    assert [piece.first for piece in pieces] == [1, 1 + IDS_OF_TAR]
    first = list(pieces[0].items())
    assert [item.content.strip() for item in first] == [b"1.jpg", b"2.png"]
    assert [item.name for item in first] == [f"{tmp_path}/0.tar/1.jpg", f"{tmp_path}/0.tar/2.png"]
    assert looked_at(pieces)[2] == (f"{tmp_path}/1.tar/sub/3.jpg", 1 + IDS_OF_TAR)


@pytest.mark.parametrize("left", [100, 1100, 1400])
def test_a_tar_file_that_breaks_off_has_a_row_that_says_so(tmp_path, left):
    save_tar(tmp_path / "0.tar", "1.jpg", "2.jpg")
    whole = (tmp_path / "0.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(whole[:left])
    *read, last = pieces_of([str(tmp_path / "0.tar")])[0].items()
    assert "the tar file breaks off" in last.error
    assert all(item.name.endswith("1.jpg") for item in read)


@pytest.mark.parametrize(("most", "error"), [(600, ""), (599, "more than 0 MiB, which no image here has")])
def test_a_member_larger_than_any_image_is_a_row_with_its_error(tmp_path, monkeypatch, most, error):
    save_tar(tmp_path / "0.tar", "1.jpg", "2.jpg")
    monkeypatch.setattr("dprd_cli.distributed.pieces.MAX_BYTES", most)
    items = list(pieces_of([str(tmp_path / "0.tar")])[0].items())
    assert [item.name for item in items] == [f"{tmp_path}/0.tar/{n}.jpg" for n in (1, 2)]
    assert all((item.content is None) == bool(error) and error in item.error for item in items)


def test_images_folders_and_urls_come_before_tar_files_and_lists(tmp_path):
    for name in ("b.jpg", "a.png", "x.txt"):
        (tmp_path / name).touch()
    save_tar(tmp_path / "0.tar", "1.jpg")
    (tmp_path / "list").write_text("c.jpg\n")
    pieces = pieces_of([str(tmp_path), "https://a.b/c"], [tmp_path / "list"], size=2)
    kinds = [type(piece.content).__name__ for piece in pieces]
    assert kinds == ["NamedImages", "NamedImages", "TarImages", "ListLines"]
    names = [name.rpartition("/")[2] for name, _ in looked_at(pieces)]
    assert names == ["a.png", "b.jpg", "c", "1.jpg", "c.jpg"]


def test_what_cannot_be_cut_is_told(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="no names in this list"):
        pieces_of(lists=[tmp_path / "empty"])
    with pytest.raises(DataError, match="gone"):
        pieces_of(lists=[tmp_path / "gone"])
    with pytest.raises(DataError, match="no file there that ends in"):
        pieces_of([str(tmp_path)])
    (tmp_path / "list").write_text("a.jpg", encoding="utf-16")
    with pytest.raises(DataError, match="save this list as UTF-8"):
        pieces_of(lists=[tmp_path / "list"])
    for inputs, lists in ((["-"], []), (["@list"], []), ([], ["-"])):
        with pytest.raises(UsageError):
            pieces_of(inputs, lists)
