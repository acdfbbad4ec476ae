"""Files that are whole or not there, whatever stops the program."""

import csv
import errno
import io
import json
import os

import pytest

from dprd_cli.errors import DataError, ResourceError
from dprd_cli.files.atomic import (
    GrowingFile,
    csv_text,
    read_json,
    write_atomically,
    write_json,
    write_rows,
    writing,
)


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"ne")
        assert path.read_bytes() == b"old"
        file.write(b"w")

    write_atomically(path, write, previous=tmp_path / "before.bin")
    assert (path.read_bytes(), (tmp_path / "before.bin").read_bytes()) == (b"new", b"old")
    assert {item.name for item in tmp_path.iterdir()} == {"a.bin", "before.bin"}
    write_atomically(path, lambda file: file.write(b"newer"))
    assert path.read_bytes() == b"newer"


def test_an_error_of_the_writer_is_its_own(tmp_path):
    def write(file):
        file.write(b"half")
        raise ValueError("not of the disk")

    with pytest.raises(ValueError, match="not of the disk"):
        write_atomically(tmp_path / "a.bin", write)
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_inside_torch_is_a_full_disk_too(tmp_path):
    def write(file):
        file.write(b"part of it")
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598")

    with pytest.raises(ResourceError, match=r"x\.pt: cannot save \(the disk may be full\)"):
        write_atomically(tmp_path / "x.pt", write)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


def test_json_is_read_back(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, None, "é"]})
    assert read_json(path, "results") == {"a": [1, None, "é"]}
    assert path.read_text().endswith("}\n")
    path.write_bytes(b"\xef\xbb\xbf[1]")  # as Windows programs write it
    assert read_json(path, "results") == [1]


def test_what_is_no_json(tmp_path):
    with pytest.raises(DataError, match=r"gone.json: cannot read the results \(No such file"):
        read_json(tmp_path / "gone.json", "results")
    for content in (b"{", b"\xff", b"[" * 100_000):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(DataError, match=r"bad.json: not a JSON file \("):
            read_json(tmp_path / "bad.json", "results")


def test_tables_keep_the_bytes_of_file_names():
    row = {"file": os.fsdecode(b"a\xff.png"), "score": 0.123456789}
    assert csv_text(["file", "score"], [row]) == b"a\xff.png,0.123457\n"


def test_a_growing_file_is_valid_after_every_append(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("an older and longer file than what it is replaced by")
    file = GrowingFile(path, b"[\n", b"\n]\n", b",\n")
    for number in range(3):
        assert json.loads(path.read_text()) == list(range(number))
        file.append(str(number).encode())
    file.close()
    assert path.read_text() == "[\n0,\n1,\n2\n]\n"


def test_a_full_disk_leaves_a_growing_file_as_it_was(tmp_path, monkeypatch):
    path, room, write = tmp_path / "a.json", 12, os.pwrite

    def limited(file, content, offset):
        if offset >= room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[: room - offset], offset)  # a short write first, as the kernel's

    file = GrowingFile(path, b"[\n", b"\n]\n", b",\n")
    file.append(b"11")
    monkeypatch.setattr(os, "pwrite", limited)
    with pytest.raises(
        ResourceError, match=r"a.json: cannot write \(No space left on device\); what it held"
    ):
        file.append(b"2222222")
    assert path.read_text() == "[\n11\n]\n"
    room = 100
    file.append(b"3")  # there is room again
    assert json.loads(path.read_text()) == [11, 3]
    with pytest.raises(ResourceError, match="cannot write"):
        GrowingFile(tmp_path / "gone" / "a.json")


@pytest.mark.parametrize(
    ("number", "error", "line"),
    [
        (errno.ENOSPC, ResourceError, "x/a.txt: no space for the data set (full); free some space"),
        (errno.EDQUOT, ResourceError, "x/a.txt: no space for the data set (full); free some space"),
        (errno.EXDEV, DataError, "x/a.txt: on another disk, where no link can lead; pass --images copy"),
        (errno.EACCES, DataError, "x/a.txt: cannot write the data set (full); choose another folder"),
    ],
)
def test_errors_in_writing_a_data_set_are_lines(tmp_path, number, error, line):
    with pytest.raises(error) as caught, writing(tmp_path):
        raise OSError(number, "full", "x/a.txt")
    assert str(caught.value) == line


def test_no_text_is_a_formula_and_numbers_stay_numbers():
    texts = ["=1+1", "+x", "-x", "@x", "\tx", "=cmd|' /C calc'!A0"]
    rows = [{"name": text, "score": -0.25, "count": -3} for text in [*texts, "cat", "\rx", ""]]
    found = list(csv.reader(io.StringIO(csv_text(["name", "score", "count"], rows).decode(), newline="")))
    assert [row[0] for row in found] == [*(f"'{text}" for text in texts), "cat", "\\rx", ""]
    assert {(row[1], row[2]) for row in found} == {("-0.25", "-3")}


def test_headings_are_no_formulas_either(tmp_path):
    write_rows(tmp_path / "a.csv", ["=x", "y"], [{"=x": 1, "y": 2.0}])
    assert (tmp_path / "a.csv").read_text() == "'=x,y\n1,2\n"
