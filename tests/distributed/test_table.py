"""Parquet files of names, of bytes, and of results."""

import pytest

from dprd_cli.distributed.pieces import find_content, numbered_pieces
from dprd_cli.distributed.table import ImageRow, TableFile, encode_rows, need_pyarrow, row_schema, to_table
from dprd_cli.errors import DataError, UsageError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def save(path, rows=3, **columns):
    parquet.write_table(pa.table(columns), path, row_group_size=rows)
    return str(path)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_pieces_of_tables_are_their_rows(tmp_path, size):
    save(tmp_path / "0.parquet", url=[f"{n}.jpg" for n in range(7)], bytes=[b"%d" % n for n in range(7)])
    save(tmp_path / "1.parquet", key=["7", "8"], jpg=[b"7", b"8"])
    pieces = list(numbered_pieces(find_content([], [], [str(tmp_path)], size)))
    items = [item for piece in pieces for item in piece.items()]
    assert [item.name for item in items] == [*(f"{n}.jpg" for n in range(7)), "7", "8"]
    assert [item.content for item in items] == [b"%d" % n for n in range(9)]
    assert [item.image_id for item in items] == list(range(1, 10))


def test_images_without_names_are_called_by_their_row(tmp_path):
    place = save(
        tmp_path / "a.parquet", image=[{"bytes": b"0", "path": "x.jpg"}, {"bytes": b"1", "path": None}]
    )
    (piece,) = numbered_pieces(find_content([], [], [place], 9))
    assert [(item.name, item.content) for item in piece.items()] == [("x.jpg", b"0"), (f"{place}#1", b"1")]


def test_tables_without_images_and_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"no column of images \(x, y\); names are looked for in file, "):
        TableFile(save(tmp_path / "a.parquet", x=[1], y=[2]))
    (tmp_path / "b.parquet").write_text("text")
    with pytest.raises(DataError, match=r"b\.parquet: not a Parquet file"):
        TableFile(str(tmp_path / "b.parquet"))


def test_columns_do_not_depend_on_what_was_found():
    record = {
        "image_id": 1,
        "category_id": 3,
        "category_name": "cat",
        "score": 0.5,
        "bbox": [0.0, 1.0, 2.0, 3.0],
    }
    mask = {"segmentation": {"size": [4, 5], "counts": "abc"}, "mask_score": 0.25}
    rows = [
        ImageRow("a", 1, 5, 4, "", [record | mask, record]),
        ImageRow("\udcff", 2, error="\udcff: no such file"),
    ]
    assert to_table(rows).schema == to_table(rows[1:]).schema == to_table([]).schema == row_schema()
    back = parquet.read_table(pa.BufferReader(encode_rows(rows))).to_pylist()
    assert back[0]["detections"][0] | {"image_id": 1} == record | mask | {
        "part_boxes": None,
        "part_shares": None,
        "part_falls": None,
    }
    assert back[1]["file"] == "\\udcff"
    assert back[1]["detections"] == []


def test_pyarrow_is_needed(monkeypatch):
    need_pyarrow()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install"):
        need_pyarrow()
