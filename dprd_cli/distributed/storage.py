"""Files by name, wherever they are: paths, and URLs of what fsspec or pyarrow opens (S3, GCS, ...)."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dprd_cli.errors import DataError, ResourceError
from dprd_cli.files.atomic import write_bytes
from dprd_cli.files.output_folder import make_folder


def is_url(name: str) -> bool:
    """Whether a name is a URL rather than a path."""
    return "://" in name


def file_system(name: str) -> tuple[Any, str]:
    """Return the fsspec file system of a path or URL, and the name in it.

    Where fsspec lacks a package for the URL's scheme (s3fs, gcsfs), pyarrow's own file system is taken.

    Raises:
        DataError: If neither knows the scheme.
    """
    from fsspec.core import url_to_fs

    try:
        system, place = url_to_fs(name)
    except ImportError as error:
        return _file_system_of_arrow(name, error)
    except ValueError as error:
        raise DataError(f"{name}: {_reason(error)}; give a path, or a URL that fsspec opens") from error
    return system, str(place)


def _file_system_of_arrow(name: str, missing: ImportError) -> tuple[Any, str]:
    try:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow.fs import FileSystem

        system, place = FileSystem.from_uri(name)
    except ImportError as error:
        raise DataError(f"{name}: {missing}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: {_reason(error)}; {missing}") from error
    return ArrowFSWrapper(system), str(place)


@contextmanager
def reading(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading, from its beginning.

    Raises:
        DataError: If it cannot be opened or read, with its name.
    """
    system, place = file_system(name)
    try:
        with system.open(place, "rb") as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise DataError(
            f"{name}: cannot be read ({_reason(error)}); check the name and its rights"
        ) from error


def read_file(name: str, most: int = -1) -> bytes:
    """Return the bytes of a file.

    Args:
        name: The file.
        most: How many bytes it may have; any number by default.

    Raises:
        DataError: If it cannot be read, or has more.
    """
    with reading(name) as file:
        content = file.read() if most < 0 else file.read(most + 1)  # pyarrow 26 takes no -1
    if 0 <= most < len(content):
        raise DataError(f"{name}: more than {most // 2**20} MiB, which no image here has; leave it out")
    return content


def file_size(name: str) -> int:
    """Return the bytes of a file, without reading it.

    Raises:
        DataError: If it is not there.
    """
    system, place = file_system(name)
    try:
        return int(system.info(place)["size"])
    except Exception as error:
        raise DataError(f"{name}: no such file ({_reason(error)}); check the name and its rights") from error


def files_at(name: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the files that a name stands for, sorted: itself, what a glob matches, or what a folder holds.

    Args:
        name: A path or URL; of folders (on S3: prefixes) the files inside count, at any depth.
        suffixes: How files of folders and globs must end, in small letters.

    Raises:
        DataError: If there is none.
    """
    system, place = file_system(name)
    try:
        if system.isfile(place):
            return [name]
        inside = system.glob(place) if set(place) & set("*?[") else system.find(place)
    except Exception as error:
        raise DataError(
            f"{name}: cannot be listed ({_reason(error)}); check the name and its rights"
        ) from error
    found = sorted(str(path) for path in inside if str(path).lower().endswith(suffixes))
    if not found:
        raise DataError(f"{name}: no file there that ends in {', '.join(suffixes)}; check the name")
    return [system.unstrip_protocol(path) if is_url(name) else path for path in found]


class LocalFolder:
    """A folder that results are written into; on a file system that all workers see.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path.resolve()

    def names(self) -> list[str]:
        """Return the files in it, by their paths from it on."""
        return [path.relative_to(self._path).as_posix() for path in self._path.rglob("*.*")]

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return read_file(str(self._path / name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; two workers may write the same one.

        Raises:
            ResourceError: If it cannot be written.
        """
        target = self._path / name
        make_folder(target.parent)
        aside = target.with_name(f".{name.rpartition('/')[2]}.{platform.node()}.{os.getpid()}")
        write_bytes(aside, content)
        aside.replace(target)


class RemoteFolder:
    """A prefix in an object store that results are written into.

    Args:
        url: The prefix.
    """

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")

    def names(self) -> list[str]:
        """Return the files in it, by their paths from it on."""
        system, place = file_system(self.name)
        try:
            if not system.exists(place):
                return []
            return [str(path)[len(place) :].lstrip("/") for path in system.find(place)]
        except Exception as error:
            raise ResourceError(f"{self.name}: cannot be listed ({_reason(error)})") from error

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return read_file(f"{self.name}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one request, whole or not at all.

        Raises:
            ResourceError: If it cannot be written.
        """
        system, place = file_system(f"{self.name}/{name}")
        try:
            with system.open(place, "wb") as file:
                file.write(content)
        except Exception as error:
            raise ResourceError(f"{self.name}/{name}: cannot write ({_reason(error)})") from error


#: Where results go.
ResultsPlace = LocalFolder | RemoteFolder


def results_place(name: str) -> ResultsPlace:
    """Return the folder or prefix that a name stands for."""
    return RemoteFolder(name) if is_url(name) else LocalFolder(Path(name))


def _reason(error: Exception) -> str:
    """Return what an error says, on one line."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
