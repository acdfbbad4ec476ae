"""Checksums: a bit that flips anywhere in a checkpoint is noticed; files without one are still read."""

import hashlib

import pytest
import torch

from dprd_cli.errors import UserError
from dprd_cli.weights import checksum
from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint, save_checkpoint
from dprd_cli.weights.checksum import fits_checksum, has_checksum

CONTENT = {
    "config": {},
    "class_names": ["a"],
    "category_ids": [1],
    "with_masks": False,
    "model": {"w": torch.arange(5.0), "n": torch.tensor(3)},
    "step": 1,
}


def write(path):
    if path.suffix == ".pt":
        save_checkpoint(path, CONTENT)
    else:
        export_safetensors(CONTENT, path, {"command": "dprd train"})
    return path


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path, suffix):
    data = write(tmp_path / f"a{suffix}").read_bytes()
    path = tmp_path / f"flipped{suffix}"
    assert len(data) < 3000
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(UserError) as caught:
            read_checkpoint(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_cut_is_noticed_wherever_it_ends(tmp_path, suffix):
    data = write(tmp_path / f"a{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in range(0, len(data), 7 if suffix == ".pt" else 3):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"truncated|damaged"):
            read_checkpoint(path)
    for length in range(len(data) - 95, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"truncated|damaged"):
            read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_it_is_the_sum_of_the_blocks_sums(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(checksum, "_BLOCK", 100)  # the digits lie across two blocks
    path = write(tmp_path / f"a{suffix}")
    assert has_checksum(path)
    assert fits_checksum(path)
    data = path.read_bytes()
    at = data.index(b"checksum:") + 9 if suffix == ".pt" else data.index(b'dprd_checksum":"') + 16
    blank = data[:at] + b"0" * 64 + data[at + 64 :]
    sums = b"".join(hashlib.sha256(blank[i : i + 100]).digest() for i in range(0, len(data), 100))
    assert data[at : at + 64] == hashlib.sha256(sums).hexdigest().encode()


def test_pytorch_reads_the_file_too(tmp_path):
    assert torch.load(write(tmp_path / "a.pt"), weights_only=True)["model"]["w"].tolist() == [0, 1, 2, 3, 4]


def test_files_without_a_checksum_are_read(tmp_path):
    content = torch.load(write(tmp_path / "a.pt"), weights_only=True)
    torch.save(content, tmp_path / "old.pt")
    assert not has_checksum(tmp_path / "old.pt")
    assert not fits_checksum(tmp_path / "old.pt")
    assert read_checkpoint(tmp_path / "old.pt")["step"] == 1


def test_damaged_content_is_called_damaged(tmp_path):
    path = write(tmp_path / "a.pt")
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(5.0).numpy().tobytes()) + 5] ^= 16
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: damaged: its checksum is that of another content; take another copy"
