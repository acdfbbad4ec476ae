import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from dprd_cli.errors import UserError
from dprd_cli.weights.safe_pickle import read_numpy_pickle


class Hostile:
    """Unpickles by creating a file."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_and_containers_are_read(tmp_path, protocol):
    content = {
        "model": OrderedDict(a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.float64(2.5)),
        "__author__": "somebody",
        "numbers": [1, (2.0, None), {True}],
    }
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_numpy_pickle(path)
    np.testing.assert_array_equal(found["model"]["a"], content["model"]["a"])
    assert found["model"]["b"] == 2.5
    assert found["numbers"] == [1, (2.0, None), {True}]


@pytest.mark.parametrize(
    "content",
    [
        Hostile(),
        {"model": {"conv1_w": Hostile()}},
        np.array([Hostile()], dtype=object),
        {"model": {"a": np.zeros(2)}, "reader": eval},
        {"path": os.path.join},
        [bytearray(b"x")],
    ],
    ids=["call", "in a dict", "in an object array", "a builtin", "a function", "another class"],
)
def test_code_is_refused_and_not_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"weights\.pkl: contains pickled code \(.*\); refused"):
        read_numpy_pickle(path)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"not a pickle", pickle.dumps({"a": np.zeros(9)})[:-20]])
def test_a_broken_file_is_one_line(tmp_path, data):
    path = tmp_path / "weights.pkl"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"weights\.pkl: not a pickle of weights, or truncated"):
        read_numpy_pickle(path)


def test_a_few_bytes_do_not_fill_the_memory(tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")  # stores an empty dict under the number 2**31 - 1
    with pytest.raises(UserError, match="not a pickle of weights, or truncated"):
        read_numpy_pickle(path)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pkl: cannot read the weights"):
        read_numpy_pickle(tmp_path / "gone.pkl")
