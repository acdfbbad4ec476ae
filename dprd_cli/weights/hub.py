"""Weights on the Hugging Face hub, `hf:ORG/NAME[@REVISION]`: pinned to a commit, safetensors alone, checked.

Only `model.safetensors` is ever fetched (`dprd weights pack` makes it), into huggingface_hub's own cache, so
that what was fetched once loads without a network. Tokens are found as huggingface_hub finds them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.errors import ResourceError, UsageError, UserError
from dprd_cli.runtime.progress import say

#: The one file of a repository that is read.
WEIGHTS_FILE = "model.safetensors"
#: Bytes of the largest file that is fetched; the largest network here has half a gigabyte.
LARGEST_FILE = 4 * 2**30
_PREFIX = "hf:"
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[\w.][\w./-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True, slots=True)
class HubWeights:
    """Weights of a repository, on this machine.

    Args:
        repository: `ORG/NAME`.
        commit: The commit that they are of, 40 hexadecimal digits.
        path: The file in huggingface_hub's cache.
    """

    repository: str
    commit: str
    path: Path

    @property
    def pinned(self) -> str:
        """What `--weights` takes for exactly these, whatever the repository holds later."""
        return f"{_PREFIX}{self.repository}@{self.commit}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"repository": self.repository, "commit": self.commit, "path": str(self.path)}


def is_hub(spec: str) -> bool:
    """Whether a weights' name is meant to be a repository on the hub."""
    return spec.startswith(_PREFIX)


def check_repository(name: str, option: str) -> str:
    """Return the name of a repository.

    Args:
        name: `ORG/NAME`, as given.
        option: Where it was given, for the message.

    Raises:
        UsageError: If it is none.
    """
    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise UsageError(f"{option}: expected ORG/NAME, a repository on the hub")
    return name


def fetch_hub(spec: str) -> HubWeights:
    """Return weights of the hub, after downloading them if they are not in the cache; say which commit it is.

    Without a network it is what the cache has of that revision.

    Args:
        spec: `hf:ORG/NAME`, with `@` and a branch, tag or commit behind it if it is not `main`.

    Raises:
        UserError: One line, if they cannot be had, are too large, or are not what the hub says.
    """
    name, sign, revision = spec.removeprefix(_PREFIX).partition("@")
    check_repository(name, f"--weights {spec}")
    if sign and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"--weights {spec}: expected a branch, tag or commit after the @")
    hub = import_hub(spec)
    with hub_errors(spec):
        about = hub.hf_hub_download(name, WEIGHTS_FILE, revision=revision or None, dry_run=True)
        if about.file_size is None or about.file_size > LARGEST_FILE:
            size = "of unknown size" if about.file_size is None else f"{about.file_size / 2**30:.1f} GiB"
            raise UserError(
                f"{spec}: {WEIGHTS_FILE} is {size}; files of up to {LARGEST_FILE >> 30} GiB are taken"
            )
        path = Path(hub.hf_hub_download(name, WEIGHTS_FILE, revision=revision or None))
    _check_file(path, spec)
    found = HubWeights(name, path.parent.name, path)
    if revision != found.commit:
        say(f"{spec} is commit {found.commit}; {found.pinned} stays that")
    return found


def _check_file(path: Path, spec: str) -> None:
    """Compare a cached file with the SHA-256 that the hub gave for it, and see that it is no pickle.

    Raises:
        UserError: If it is another file, or no safetensors file.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    # the cache names a large file by the checksum that the hub gave, and links to it
    expected = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
    if _SHA256.fullmatch(expected) and found != expected:
        blob = path.resolve()
        raise UserError(
            f"{blob}: its SHA-256 is {found[:16]}..., expected {expected[:16]}...; delete it to download "
            f"{spec} again"
        )
    if not is_safetensors(path):
        raise UserError(f"{spec}: {WEIGHTS_FILE} is no safetensors file; refused, as all else from a hub is")


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do, with JSON after 8 bytes, as no pickle or zip does."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def import_hub(what: str) -> Any:
    """Return huggingface_hub.

    Args:
        what: What it is needed for, for the message.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            f"{what}: huggingface_hub is not installed; install it with: pip install 'dprd-cli[hub]'"
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn huggingface_hub's errors into lines.

    Args:
        what: The repository, as it was named.

    Raises:
        UserError: One line with the next step.
    """
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.GatedRepoError as error:
        raise UserError(f"{what}: the hub asks for consent first; give it there, and {_LOG_IN}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{what}: no such repository, or a private one: {_LOG_IN}") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{what}: the repository has no such branch, tag or commit") from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(
            f"{what}: the repository has no {WEIGHTS_FILE}, and nothing else is read from a hub; "
            "`dprd weights pack` makes it"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        reason = error.__cause__ or error
        raise UserError(
            f"{what}: the hub cannot be reached ({_reason(reason)}), and the cache does not have it; go "
            "online once, or pass a file"
        ) from error
    except Exception as error:  # the library has a dozen kinds more
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise UserError(f"{what}: the hub refuses ({_reason(error)}); {_LOG_IN}") from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{what}: no space left in the hub's cache; free some") from error
        raise UserError(f"{what}: the hub's answer was an error ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """Return the first line of an error that says something, without what follows a link."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
