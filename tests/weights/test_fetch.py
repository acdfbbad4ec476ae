import torch

from dprd_cli.weights.fetch import fetch_file


def test_a_file_that_is_here_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    source = tmp_path / "source.pth"
    source.write_bytes(b"weights")
    path = fetch_file(source.as_uri(), "kept.pth")
    source.unlink()
    assert fetch_file(source.as_uri(), "kept.pth").read_bytes() == path.read_bytes() == b"weights"
