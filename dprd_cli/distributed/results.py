"""The folder of a job: whose pieces are in it, which are done, and how one is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dprd_cli.distributed.pieces import Piece
from dprd_cli.distributed.storage import ResultsPlace, results_place
from dprd_cli.distributed.table import ImageRow, encode_rows, need_pyarrow
from dprd_cli.errors import DataError, UsageError

JOB_FILE = "job.json"
_IN_PART = 1000  # pieces in a folder


@dataclass(frozen=True, slots=True)
class JobResults:
    """A file for each piece, `part=000/piece-000000.parquet`, and `job.json`, which says whose they are.

    Args:
        place: Where they go.
        encode: Makes a file's bytes of its rows.
        suffix: How the files end.
    """

    place: ResultsPlace
    encode: Callable[[Sequence[ImageRow]], bytes] = encode_rows
    suffix: str = ".parquet"

    def begin(self, pieces: Iterable[Piece], settings: Mapping[str, Any]) -> list[Piece]:
        """Return the pieces whose file is not there yet.

        Args:
            pieces: All of the job.
            settings: What the rows depend on: plain JSON values.

        Raises:
            UsageError: If the folder holds pieces of other images, or of other settings.
            ResourceError: If it cannot be written.
        """
        digest, every = hashlib.sha256(), list(pieces)
        for piece in every:
            digest.update(repr(piece).encode(errors="surrogateescape"))
        about = json.loads(json.dumps({**settings, "pieces": len(every), "images": digest.hexdigest()}))
        there = self.place.names()
        if JOB_FILE in there:
            self._check(about)
        elif any(name.endswith(self.suffix) for name in there):
            raise UsageError(f"--out {self.place.name}: holds files of no job; choose another folder")
        else:
            self.place.write(JOB_FILE, json.dumps(about, indent=2).encode() + b"\n")
        done = set(self._done(there))
        return [piece for piece in every if piece.number not in done]

    def write(self, number: int, rows: Sequence[ImageRow]) -> None:
        """Write the file of a piece, whole or not at all; what is there is replaced by the same.

        Raises:
            ResourceError: If it cannot be written.
        """
        self.place.write(self._name(number), self.encode(rows))

    def _name(self, number: int) -> str:
        return f"part={number // _IN_PART:03d}/piece-{number:06d}{self.suffix}"

    def _done(self, names: Iterable[str]) -> Iterator[int]:
        for name in names:
            found = re.search(r"piece-(\d+)", name)
            if found and name == self._name(int(found[1])):
                yield int(found[1])

    def _check(self, about: Mapping[str, Any]) -> None:
        start = f"--out {self.place.name}"
        try:
            before = json.loads(self.place.read(JOB_FILE))
        except ValueError as error:
            raise DataError(f"{start}: {JOB_FILE} is damaged ({error}); choose another folder") from error
        keys = {*about, *before}
        changed = sorted(key for key in keys if before.get(key) != about.get(key))
        if changed:
            raise UsageError(
                f"{start}: holds a job that differs in {', '.join(changed)}; choose another folder, or pass "
                "what was passed then"
            )


def parquet_results(out: str) -> JobResults:
    """Return a job's Parquet files in a folder that all workers see, or below the URL of a prefix.

    Raises:
        UsageError: If pyarrow is not installed.
    """
    need_pyarrow()
    return JobResults(results_place(out))
