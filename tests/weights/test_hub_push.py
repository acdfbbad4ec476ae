"""Packed folders, published on a server on this machine that speaks the hub's protocol."""

import json
from pathlib import Path

import pytest

from dprd_cli import cli
from dprd_cli.errors import UsageError, UserError
from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint
from dprd_cli.weights.hub import fetch_hub
from dprd_cli.weights.hub_push import push_folder
from hub_server import TOKEN, serve_hub, use_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve_hub() as server:
        use_hub(monkeypatch, server.endpoint, tmp_path / "cache", TOKEN)
        yield server


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """Make a folder as `dprd weights pack` does, with a file that it does not write."""
    made = tmp_path / "packed"
    (made / "images").mkdir(parents=True)
    export_safetensors(read_checkpoint(Path(tiny_checkpoint)), made / "model.safetensors", {})
    (made / "README.md").write_text("---\ntags: [dprd]\n---\n# name\n")
    (made / "images" / "parts.png").write_bytes(b"png")
    (made / "notes.txt").write_text("mine")
    (made / ".written-by-dprd-weights-pack").write_text("null\n")
    return made


def test_what_is_published_is_what_is_fetched(hub, folder):
    done = push_folder(folder, "org/name", private=True)
    assert list(done.files) == ["model.safetensors", "README.md", "images/parts.png"]
    assert done.left_out == ("notes.txt",)
    repository = hub.repositories["org/name"]
    assert repository.private
    commit, files = repository.commits[-1]
    assert (done.commit, done.url) == (commit, f"{hub.endpoint}/org/name/commit/{commit}")
    assert files == {name: (folder / name).read_bytes() for name in done.files}
    found = fetch_hub("hf:org/name")
    assert found.pinned == done.to_json()["weights"]
    assert found.path.read_bytes() == (folder / "model.safetensors").read_bytes()


def test_what_a_link_leads_to_is_not_published(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "images" / "folder.png").mkdir()
    planned = push_folder(folder, "org/name", dry_run=True)
    assert list(planned.files) == ["model.safetensors", "README.md", "images/parts.png"]
    assert planned.left_out == ("images/link.png", "notes.txt")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"packed: holds no README\.md"):
        push_folder(folder, "org/name", dry_run=True)


def test_a_second_time_is_a_second_commit(hub, folder):
    first = push_folder(folder, "org/name")
    (folder / "README.md").write_text("# other\n")
    second = push_folder(folder, "org/name", message="a better card")
    assert first.commit != second.commit
    assert hub.repositories["org/name"].commits[-1][1]["README.md"] == b"# other\n"


def test_a_dry_run_sends_nothing(hub, folder, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert cli.run(["weights", "push", str(folder), "org/name", "--dry-run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["commit"] is None
    assert err.splitlines()[0] == "not sent: notes.txt, which `dprd weights pack` did not write"
    assert err.splitlines()[-1] == "dry run: nothing was sent to org/name"
    assert hub.requests == []


def test_who_may_not_write_is_told(hub, folder, monkeypatch):
    with pytest.raises(UserError, match=r"^others/name: the hub refuses \(.*\); log in with `hf auth login`"):
        push_folder(folder, "others/name")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"^org/name: .*log in with `hf auth login`, or set HF_TOKEN"):
        push_folder(folder, "org/name")


def test_what_is_no_packed_folder(folder, tmp_path):
    with pytest.raises(UsageError, match="expected ORG/NAME"):
        push_folder(folder, "name")
    with pytest.raises(UserError, match=r"gone: no such folder; `dprd weights pack RUN .*gone` makes it"):
        push_folder(tmp_path / "gone", "org/name")
    (folder / "README.md").unlink()
    with pytest.raises(UserError, match=r"packed: holds no README\.md"):
        push_folder(folder, "org/name")
    (folder / "README.md").write_text("# name\n")
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged: its checksum"):
        push_folder(folder, "org/name")
    path.write_bytes(b"PK\3\4" + bytes(20))
    with pytest.raises(UserError, match="no safetensors file; pack the run again"):
        push_folder(folder, "org/name")
