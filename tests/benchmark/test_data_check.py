"""The generated data set can be used, and every image of it is decoded once."""

import pytest

from dprd_cli.benchmark import data_check as module
from dprd_cli.benchmark.data_check import _decode, _decode_all, _files, _write_data
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.check import check_data


def test_generated_data_is_sound(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _write_data(tmp_path / "data", 10, (48, 64))
    train, val = check_data(DataConfig(path=str(tmp_path / "data")), workers=0)
    assert (train.counts.images, val.counts.images) == (8, 2)
    assert train.counts.with_masks == train.counts.objects > 20
    assert not [*train.problems.of("error"), *val.problems.of("error")]
    files = _files(str(tmp_path / "data"))
    assert files == sorted((tmp_path / "data" / "images").iterdir())


def test_files_are_decoded_by_two_processes(tmp_path, monkeypatch):
    given = []

    class Pool:
        def __init__(self, call, count):
            assert (call, count) == (_decode, 2)

        def map(self, tasks):
            given.extend(tasks)
            return map(_decode, given)

    monkeypatch.setattr(module, "WorkerPool", Pool)
    _write_data(tmp_path / "data", 20, (48, 64))
    files = _files(str(tmp_path / "data"))
    _decode_all(files)
    assert given == [files[:16], files[16:]]
    files[0].write_text("broken")
    with pytest.raises(OSError, match="cannot identify"):
        _decode_all(files)
