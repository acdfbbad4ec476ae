"""Parquet, by pyarrow: the tables that name images, and the tables of what was detected in them."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dprd_cli.distributed.storage import reading
from dprd_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow

#: Columns that name images, and columns that hold the bytes of their files, most usual first.
NAME_COLUMNS = ("file", "file_name", "path", "url", "name", "uri", "key")
CONTENT_COLUMNS = ("bytes", "image", "jpg", "jpeg", "png", "content")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image that was looked at.

    Args:
        file: Its name.
        image_id: Its number in the job.
        width: Pixels; 0 where it could not be read.
        height: Pixels; 0 where it could not be read.
        error: Why it could not be read; empty where it could.
        detections: Its records of `results.json`, best first.
    """

    file: str
    image_id: int
    width: int = 0
    height: int = 0
    error: str = ""
    detections: list[dict[str, Any]] = field(default_factory=list)


def need_pyarrow() -> None:
    """Check that pyarrow is installed.

    Raises:
        UsageError: If it is not.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("pyarrow is not installed; install it with: pip install 'dprd-cli[ray]'")


def row_schema() -> pyarrow.Schema:
    """Return the columns of the results, which do not depend on what was found."""
    import pyarrow as pa

    numbers = pa.list_(pa.float64())
    detection = pa.struct(
        {
            "category_id": pa.int64(),
            "category_name": pa.string(),
            "score": pa.float64(),
            "bbox": numbers,
            "segmentation": pa.struct({"size": pa.list_(pa.int64()), "counts": pa.string()}),
            "mask_score": pa.float64(),
            "part_boxes": pa.list_(numbers),
            "part_shares": numbers,
            "part_falls": numbers,
        }
    )
    kinds = {"file": pa.string(), "error": pa.string(), "detections": pa.list_(detection)}
    return pa.schema([(one.name, kinds.get(one.name, pa.int64())) for one in fields(ImageRow)])


def to_table(rows: Sequence[ImageRow]) -> pyarrow.Table:
    """Return rows as a table; of names that are no Unicode the odd bytes are escaped."""
    import pyarrow as pa

    schema = row_schema()
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    for name in ("file", "error"):
        columns[name] = [text.encode(errors="backslashreplace").decode() for text in columns[name]]
    return pa.table({name: pa.array(values, schema.field(name).type) for name, values in columns.items()})


def encode_rows(rows: Sequence[ImageRow]) -> bytes:
    """Return the bytes of a Parquet file."""
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(to_table(rows), file, compression="zstd")
    return file.getvalue()


class TableFile:
    """A Parquet file whose rows name images or hold them.

    Args:
        place: The file.

    Raises:
        DataError: If it is none, or has neither names nor images.
    """

    def __init__(self, place: str) -> None:
        need_pyarrow()
        self.place = place
        with reading(place) as file:
            parquet = _parquet(file)
            self.num_rows = int(parquet.metadata.num_rows)
            names = list(parquet.schema_arrow.names)
        self._name = next((one for one in NAME_COLUMNS if one in names), None)
        self._content = next((one for one in CONTENT_COLUMNS if one in names), None)
        if self._name is None and self._content is None:
            raise DataError(
                f"{place}: no column of images ({', '.join(names[:8])}); names are looked for in "
                f"{', '.join(NAME_COLUMNS)}, bytes in {', '.join(CONTENT_COLUMNS)}"
            )

    def __repr__(self) -> str:
        return f"TableFile({self.place!r}, {self.num_rows}, {self._name!r}, {self._content!r})"

    def rows(self, start: int, count: int) -> Iterator[tuple[str, bytes | None]]:
        """Yield (name, bytes or None) of some rows; no more than a row group is in memory.

        Args:
            start: The first row.
            count: How many.
        """
        columns = [one for one in (self._name, self._content) if one]
        with reading(self.place) as file:
            parquet, begin = _parquet(file), 0
            for group in range(parquet.num_row_groups):
                end = begin + parquet.metadata.row_group(group).num_rows
                low, high = max(start, begin), min(start + count, end)
                if low < high:
                    table = parquet.read_row_group(group, columns=columns)
                    for row in table.slice(low - begin, high - low).to_pylist():
                        yield self._row(row)
                begin = end

    def _row(self, row: dict[str, Any]) -> tuple[str, bytes | None]:
        name, content = row.get(self._name or ""), row.get(self._content or "")
        if isinstance(content, dict):  # as the `datasets` library stores images
            name, content = name or content.get("path"), content.get("bytes")
        return str(name or ""), content


def _parquet(file: Any) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{getattr(file, 'name', 'file')}: not a Parquet file ({error})") from error
