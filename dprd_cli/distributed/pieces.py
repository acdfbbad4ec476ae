"""What is to be looked at, cut into pieces that are done whole or not at all: nothing lost, nothing twice.

Which image is in which piece follows from the inputs and the size of a piece alone, so a job that was stopped
goes on. A piece is a reference (lines of a list, rows of a table, a tar file): the worker reads its images.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from dprd_cli.distributed.storage import file_size, files_at, reading
from dprd_cli.distributed.table import TableFile
from dprd_cli.errors import DataError, UsageError
from dprd_cli.files.images import IMAGE_SUFFIXES, has_image_suffix
from dprd_cli.files.text import has_mark
from dprd_cli.inference.url import MAX_BYTES

#: Ids that a tar file takes, whose images are counted when it is read.
IDS_OF_TAR = 1_000_000
_TARS = (".tar", ".tar.gz", ".tgz")
_BROKEN_TAR = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image that is to be looked at.

    Args:
        name: A path, a URL, or what the image is called in its tar file or table.
        image_id: Its number in the job.
        content: The bytes of its file, where they came with it.
        error: Why it cannot be looked at, where that is known already.
    """

    name: str
    image_id: int
    content: bytes | None = None
    error: str = ""


class PieceContent(Protocol):
    """Some images: says how many ids they take, and reads them in an order that never changes."""

    @property
    def ids(self) -> int:
        """How many ids are theirs."""
        ...

    def items(self, first: int) -> Iterator[ImageItem]:
        """Yield the images, numbered from `first`.

        Raises:
            DataError: If what holds them cannot be opened.
        """
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Work that is done whole or not at all.

    Args:
        number: Which piece, from 0.
        first: Id of its first image.
        content: Its images.
    """

    number: int
    first: int
    content: PieceContent

    def items(self) -> Iterator[ImageItem]:
        """Yield its images."""
        return self.content.items(self.first)


@dataclass(frozen=True, slots=True)
class NamedImages:
    """Images by name.

    Args:
        names: Paths and URLs.
    """

    names: tuple[str, ...]

    @property
    def ids(self) -> int:
        """One for each name."""
        return len(self.names)

    def items(self, first: int) -> Iterator[ImageItem]:
        """Yield a name after the other."""
        for number, name in enumerate(self.names, start=first):
            yield ImageItem(name, number)


@dataclass(frozen=True, slots=True)
class ListLines:
    """Names in a file, one a line; the worker reads its lines only.

    Args:
        place: The file.
        start: Byte where the first name begins.
        length: Bytes of the names.
        ids: How many names there are.
        digest: SHA-256 of those bytes.
        null: Names end in NUL.
    """

    place: str
    start: int
    length: int
    ids: int
    digest: str
    null: bool = False

    def items(self, first: int) -> Iterator[ImageItem]:
        """Yield a name after the other.

        Raises:
            DataError: If the list has changed since the job began.
        """
        with reading(self.place) as file:
            file.seek(self.start)
            content = file.read(self.length)
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise DataError(f"{self.place}: this list was changed while the job ran; restore it")
        names = content.split(b"\0") if self.null else content.replace(b"\r\n", b"\n").split(b"\n")
        for number, name in enumerate(filter(bytes.strip, names), start=first):
            yield ImageItem(os.fsdecode(name), number)


@dataclass(frozen=True, slots=True)
class TarImages:
    """The images in a tar file, such as WebDataset's: read from its beginning to its end.

    Args:
        place: The file.
        size: Its bytes.
    """

    place: str
    size: int

    @property
    def ids(self) -> int:
        """As many as a tar file may hold."""
        return IDS_OF_TAR

    def items(self, first: int) -> Iterator[ImageItem]:
        """Yield a member after the other, as `TAR/MEMBER`; where the file breaks off, a row says so."""
        number = first
        with reading(self.place) as file:
            try:
                with tarfile.open(fileobj=file, mode="r|*") as archive:
                    for member in archive:
                        if member.isfile() and has_image_suffix(member.name):
                            yield self._item(archive, member, number)
                            number += 1
            except _BROKEN_TAR as error:
                text = f"{self.place}: the tar file breaks off ({error}); images after this are lost"
                yield ImageItem(self.place, number, error=text)

    def _item(self, archive: tarfile.TarFile, member: tarfile.TarInfo, number: int) -> ImageItem:
        name = f"{self.place}/{member.name}"
        if member.size > MAX_BYTES:  # a sparse one may state any size
            text = f"{name}: more than {MAX_BYTES // 2**20} MiB, which no image here has; leave it out"
            return ImageItem(name, number, error=text)
        content = archive.extractfile(member)
        assert content is not None  # of a plain file
        return ImageItem(name, number, content.read())


@dataclass(frozen=True, slots=True)
class TableImages:
    """Rows of a Parquet file, with the names of images or their bytes.

    Args:
        table: The file.
        start: The first row.
        ids: How many rows.
    """

    table: TableFile
    start: int
    ids: int

    def items(self, first: int) -> Iterator[ImageItem]:
        """Yield a row after the other."""
        rows = self.table.rows(self.start, self.ids)
        for number, (name, content) in enumerate(rows, start=first):
            yield ImageItem(name or f"{self.table.place}#{self.start + number - first}", number, content)


def find_content(
    inputs: Sequence[str], lists: Sequence[str], tables: Sequence[str], size: int, *, null: bool = False
) -> Iterator[PieceContent]:
    """Yield the pieces of everything that is named, in the order given: inputs, lists, tables.

    Args:
        inputs: Images, tar files, and folders, globs and prefixes of them: paths or URLs.
        lists: Files with a name a line.
        tables: Parquet files, and folders and prefixes of them.
        size: Images in a piece; a tar file is one piece.
        null: Names in lists end in NUL.

    Raises:
        DataError: If something is not there, or holds no image.
        UsageError: At standard input, which is read once and by one process.
    """
    named = [name for text in inputs for name in _files(text)]
    images = (name for name in named if not name.lower().endswith(_TARS))
    for chunk in _chunks(images, size):
        yield NamedImages(tuple(chunk))
    for name in named:
        if name.lower().endswith(_TARS):
            yield TarImages(name, file_size(name))
    for text in lists:
        if text == "-":
            raise UsageError("--ray: standard input cannot be gone on with; write the names into a file")
        yield from _listed(text if "://" in text else os.path.abspath(text), size, null=null)
    for text in tables:
        for name in files_at(text if "://" in text else os.path.abspath(text), (".parquet", ".pq")):
            table = TableFile(name)
            for start in range(0, table.num_rows, size):
                yield TableImages(table, start, min(size, table.num_rows - start))


def numbered_pieces(contents: Iterable[PieceContent]) -> Iterator[Piece]:
    """Yield pieces with their numbers and ids; ids count images from 1, of tar files with gaps."""
    first = 1
    for number, content in enumerate(contents):
        yield Piece(number, first, content)
        first += content.ids


def _files(text: str) -> list[str]:
    if text.startswith(("http://", "https://")):
        return [text]
    if text == "-" or text.startswith("@"):
        raise UsageError(f"{text}: with --ray lists are named by --list FILE")
    return files_at(text, (*IMAGE_SUFFIXES, *_TARS))


def _listed(place: str, size: int, *, null: bool) -> Iterator[ListLines]:
    """Cut a list of names, in one pass."""
    with reading(place) as file:
        start = 0
        names = _names(file, null=null)
        while chunk := list(islice(names, size)):
            content = b"".join(chunk)
            if not start and has_mark(content):
                raise DataError(f"{place}: save this list as UTF-8 without a byte order mark")
            count = sum(bool(name.strip(b"\0").strip()) for name in chunk)
            if count:
                digest = hashlib.sha256(content).hexdigest()
                yield ListLines(place, start, len(content), count, digest, null)
            start += len(content)
    if not start:
        raise DataError(f"{place}: no names in this list")


def _names(file: Iterable[bytes], *, null: bool) -> Iterator[bytes]:
    """Yield the names of a file with their ends."""
    if not null:
        yield from file
        return
    rest = b""
    for line in file:
        *whole, rest = (rest + line).split(b"\0")
        yield from (name + b"\0" for name in whole)
    if rest:
        yield rest


def _chunks(names: Iterator[str], size: int) -> Iterator[list[str]]:
    while chunk := list(islice(names, size)):
        yield chunk
