"""A packed folder, published as a commit of a repository on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.errors import UserError
from dprd_cli.files.images import has_image_suffix
from dprd_cli.weights.checkpoint import read_checkpoint
from dprd_cli.weights.hub import WEIGHTS_FILE, check_repository, hub_errors, import_hub, is_safetensors

CARD_FILE = "README.md"
IMAGES_FOLDER = "images"


@dataclass(frozen=True, slots=True)
class HubCommit:
    """A folder that was published, or would be.

    Args:
        repository: `ORG/NAME`.
        files: Size in bytes of each file, by its path in the repository.
        left_out: Names in the folder that a packed folder does not have.
        commit: The commit, 40 hexadecimal digits; None where nothing was sent.
        url: Its page; None where nothing was sent.
    """

    repository: str
    files: dict[str, int]
    left_out: tuple[str, ...]
    commit: str | None = None
    url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "repository": self.repository,
            "files": self.files,
            "left_out": list(self.left_out),
            "commit": self.commit,
            "url": self.url,
            "weights": self.commit and f"hf:{self.repository}@{self.commit}",
        }


def push_folder(
    folder: Path, repository: str, *, private: bool = False, message: str = "", dry_run: bool = False
) -> HubCommit:
    """Publish a packed folder as one commit; the repository is made where there is none.

    Only what `dprd weights pack` writes is sent: the weights, the card, and its images. The token is found as
    huggingface_hub finds it (`HF_TOKEN`, or what `hf auth login` stored).

    Args:
        folder: What `pack_weights` wrote.
        repository: `ORG/NAME`.
        private: Whether a repository that is made is private.
        message: The commit's; empty for one that names the folder.
        dry_run: Check everything here and send nothing; needs neither token nor network.

    Raises:
        UserError: If the folder is not such a one, its weights are damaged, or the hub refuses.
    """
    check_repository(repository, f"dprd weights push {folder} {repository}")
    planned = _plan(folder, repository)
    if dry_run:
        return planned
    hub = import_hub(repository)
    with hub_errors(repository):
        api = hub.HfApi()
        api.create_repo(repository, private=private or None, exist_ok=True)
        operations = [hub.CommitOperationAdd(name, str(folder / name)) for name in planned.files]
        done = api.create_commit(
            repository, operations, commit_message=message or f"{folder.resolve().name}, packed by dprd"
        )
    return HubCommit(repository, planned.files, planned.left_out, done.oid, str(done.commit_url))


def _plan(folder: Path, repository: str) -> HubCommit:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `dprd weights pack RUN {folder}` makes it")
    for name in (WEIGHTS_FILE, CARD_FILE):
        if not _lies_in(folder, name):
            raise UserError(f"{folder}: holds no {name}; `dprd weights pack RUN FOLDER` makes such a folder")
    weights = folder / WEIGHTS_FILE
    if not is_safetensors(weights):
        raise UserError(f"{weights}: no safetensors file; pack the run again")
    read_checkpoint(weights)  # whole, and this program's
    images = (f"{IMAGES_FOLDER}/{path.name}" for path in folder.glob(f"{IMAGES_FOLDER}/*"))
    shown = sorted(name for name in images if has_image_suffix(name) and _lies_in(folder, name))
    files = {name: (folder / name).stat().st_size for name in (WEIGHTS_FILE, CARD_FILE, *shown)}
    every = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    left_out = sorted(name for name in every if name not in files and not name.startswith("."))
    return HubCommit(repository, files, tuple(left_out))


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a folder has a file, and not a link that leads elsewhere."""
    path = folder / name
    return path.is_file() and path.resolve() == folder.resolve() / name
