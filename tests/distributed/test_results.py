"""Whose pieces a folder holds, and which are done."""

import pytest

from dprd_cli.distributed.pieces import NamedImages, numbered_pieces
from dprd_cli.distributed.results import parquet_results
from dprd_cli.distributed.table import ImageRow
from dprd_cli.errors import DataError, UsageError


def pieces_of(*names):
    return list(numbered_pieces(NamedImages((name,)) for name in names))


def test_what_is_done_is_not_done_again(json_results, tmp_path):
    results = json_results(tmp_path / "out")
    pieces = pieces_of("a", "b", "c")
    assert results.begin(pieces, {"x": 1}) == pieces
    results.write(1, [ImageRow("b", 2)])
    assert [piece.number for piece in results.begin(pieces, {"x": 1})] == [0, 2]
    assert [row["file"] for row in json_results.read(tmp_path / "out")] == ["b"]


def test_pieces_lie_in_folders_of_a_thousand(json_results, tmp_path):
    results = json_results(tmp_path)
    for number in (0, 999, 1000, 1_234_567):
        results.write(number, [])
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.rows")) == [
        "part=000/piece-000000.rows",
        "part=000/piece-000999.rows",
        "part=001/piece-001000.rows",
        "part=1234/piece-1234567.rows",
    ]


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        ("ac", {"x": 1}, "differs in images;"),
        ("abc", {"x": 1}, "differs in images, pieces;"),
        ("ab", {"x": 2}, "differs in x;"),
        ("ab", {}, "differs in x;"),
    ],
)
def test_another_job_is_refused(json_results, tmp_path, names, settings, said):
    results = json_results(tmp_path)
    results.begin(pieces_of("a", "b"), {"x": 1})
    with pytest.raises(UsageError, match=said):
        results.begin(pieces_of(*names), settings)


def test_files_of_no_job_and_damaged_ones_are_refused(json_results, tmp_path):
    results = json_results(tmp_path)
    results.write(0, [])
    with pytest.raises(UsageError, match="holds files of no job"):
        results.begin(pieces_of("a"), {})
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(DataError, match=r"job\.json is damaged"):
        results.begin(pieces_of("a"), {})


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pyarrow is not installed; .* pip install 'dprd-cli\[ray\]'"):
        parquet_results(str(tmp_path))
