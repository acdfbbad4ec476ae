"""PyTorch's files: what torch.save writes is read back to the bit, and a file gets no more than it holds."""

import collections
import functools
import io
import os
import re
import struct
import warnings
import zipfile

import pytest
import torch
from torch import nn

from dprd_cli.weights.pickle_machine import BrokenPickleError, RefusedPickleError
from dprd_cli.weights.safe_checkpoint import InflatedError, read_torch


def assert_same(found, expected):
    if isinstance(expected, torch.Tensor):
        assert type(found) is torch.Tensor
        assert found.dtype == expected.dtype
        assert found.stride() == expected.stride()
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected)


def content():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    line = torch.arange(12.0)
    types = (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int16, torch.int8, torch.uint8)
    return {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ordered": collections.OrderedDict(b=1, a=torch.tensor(3)),
        "types": [torch.arange(5).to(dtype) for dtype in (*types, torch.bool)],
        "views": (line[3:6], line[6:], line[::2], line.view(3, 4).T),
        "none": torch.empty(0, 3),
        "parameter": torch.ones(2),
        "plain": [None, True, 2, -(2**40), 0.5, "text", (1, (2,)), b"bytes"],
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read_to_the_bit(tmp_path, zipped, protocol):
    path = tmp_path / "a.pt"
    expected = content()
    if protocol == 2:  # before that, bytes are a call of _codecs.encode
        expected["plain"].pop()
    saved = {**expected, "parameter": nn.Parameter(expected["parameter"])}
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert_same(read_torch(path), expected)


def test_views_of_one_storage_share_it(tmp_path):
    line = torch.arange(6.0)
    torch.save([line[:3], line[3:], line], tmp_path / "a.pt")
    first, _, whole = read_torch(tmp_path / "a.pt")
    first[0] = 99
    assert whole[0] == 99


# ---- hostile files ---------------------------------------------------------------------------------------


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def write_zip(path, pkl, storages=(), **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("a/data.pkl", pkl)
        archive.writestr("a/byteorder", b"little")
        for number, data in enumerate(storages):
            archive.writestr(f"a/data/{number}", data)


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0%dX\x03\0\0\0cpu%stQ"


def integer(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def storage(count, key=0):
    return STORAGE % (key, integer(count))


def tensor(source, offset, size, stride):
    sizes, strides = (b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (size, stride))
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + source + integer(offset) + sizes + strides
    return call + b"\x89ccollections\nOrderedDict\n)RtR"


@pytest.mark.parametrize(
    "value",
    [
        Call(os.system, "touch hacked"),
        Call(eval, "1"),
        Call(bytearray, 10**12),
        Call(set, ([],)),
        Call(torch.zeros, 10**12),
        functools.partial(print),
        torch.float32,
        torch.device("cpu"),
        collections.Counter("aa"),
        torch.ones(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.empty(2**40, device="meta"),
        nn.Linear(1, 1),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_but_dense_tensors_and_plain_containers_is_read(tmp_path, monkeypatch, zipped, value):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"a": value}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(RefusedPickleError):
        read_torch(path)
    assert os.listdir(tmp_path) == ["a.pt"]


NUMBERS = struct.pack("<4f", 1, 2, 3, 4)
BROKEN = {
    "a storage that claims more": tensor(storage(10**10), 0, [10**10], [1]),
    "a storage that claims less": tensor(storage(3), 0, [3], [1]),
    "no such storage": tensor(storage(4, key=7), 0, [4], [1]),
    "a view that reaches out": tensor(storage(4), 2, [4], [1]),
    "a stride that reaches out": tensor(storage(4), 0, [2], [9]),
    "a negative stride": tensor(storage(4), 3, [4], [-1]),
    "a negative offset": tensor(storage(4), -1, [1], [1]),
    "windows that overlap": tensor(storage(1000, key=1), 0, [500, 500], [1, 1]),
    "a view many times": b"(" + tensor(storage(1000, key=1), 0, [1000], [1]) * 200 + b"t",
    "a tensor of a tensor": tensor(tensor(storage(4), 0, [4], [1]), 0, [4], [1]),
    "another kind of id": b"(X\x06\0\0\0moduleNNNNtQ",
    "a short id": b"(X\x07\0\0\0storagetQ",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_tensor_is_in_the_file(tmp_path, kind):
    path = tmp_path / "a.pt"
    write_zip(path, b"\x80\x02" + tensor(storage(4), 0, [2, 2], [2, 1]) + b".", [NUMBERS])
    assert read_torch(path).tolist() == [[1, 2], [3, 4]]
    write_zip(path, b"\x80\x02" + BROKEN[kind] + b".", [NUMBERS, bytes(4000)])
    with pytest.raises((BrokenPickleError, RuntimeError, ValueError, KeyError)) as caught:
        read_torch(path)
    assert not isinstance(caught.value, MemoryError)


def test_zips_that_inflate_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    write_zip(path, b"\x80\x02" + tensor(storage(10**6), 0, [10**6], [1]) + b".", [bytes(4 * 10**6)])
    read_torch(path)
    write_zip(
        path,
        b"\x80\x02" + tensor(storage(10**6), 0, [10**6], [1]) + b".",
        [bytes(4 * 10**6)],
        compression=zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(InflatedError):
        read_torch(path)


def test_the_zips_own_checksums_are_compared(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"a": torch.arange(1000.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<2f", 500, 501))] ^= 1
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["a"][500] != 500  # nobody else notices
    with pytest.raises(BrokenPickleError):
        read_torch(path)


@pytest.mark.parametrize("count", [10**15, 3, -1])
def test_an_old_file_gets_no_more_than_it_holds(tmp_path, count):
    buffer = io.BytesIO()
    torch.save(torch.arange(4.0), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    changed, times = re.subn(rb"(cpuq.)K\x04", lambda found: found[1] + integer(count), data)
    assert times == 1
    path = tmp_path / "a.pt"
    path.write_bytes(changed)
    with pytest.raises((BrokenPickleError, RuntimeError)):
        read_torch(path)
