import os
import pickle
import resource
import struct
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dprd_cli.errors import UserError
from dprd_cli.weights.numpy_pickle import read_numpy_pickle


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


# ---- whatever pickle writes of arrays is read back -------------------------------------------------------

NUMBERS = st.sampled_from(
    [f"{order}{code}" for order in "<>" for code in (["f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "c8"])]
)
KEYS = st.one_of(
    st.text(max_size=5), st.binary(max_size=5), st.integers(-(2**59), 2**59), st.none(), st.booleans()
)
ARRAYS = hnp.arrays(
    st.one_of(NUMBERS, st.sampled_from(["?", "i1", "u1"])).map(np.dtype),
    hnp.array_shapes(min_dims=0, min_side=0),
)
LEAVES = st.one_of(KEYS, ARRAYS, st.floats(allow_nan=False), st.integers(), st.sets(KEYS, max_size=3))
CONTENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_same(found, expected):
    if isinstance(expected, np.ndarray | np.generic):
        np.testing.assert_array_equal(found, expected, strict=False)
        assert found.dtype == expected.dtype.newbyteorder("=")
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected)


@settings(max_examples=300, deadline=None)
@given(content=CONTENTS, protocol=st.integers(0, 5))
def test_what_pickle_writes_is_read_back(tmp_path_factory, content, protocol):
    path = tmp_path_factory.getbasetemp() / "round.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert_same(read_numpy_pickle(path), content)


@pytest.mark.parametrize("protocol", range(6))
def test_fortran_order_slices_and_shared_arrays_are_read(tmp_path, protocol):
    base = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    content = {"fortran": np.asfortranarray(base), "slice": base[:, ::2], "same": base, "again": base}
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_numpy_pickle(path)
    assert_same(found, content)
    assert found["same"] is found["again"]
    assert all(array.flags.writeable and array.flags.c_contiguous for array in found.values())


def test_python_2_pickles_are_read(tmp_path):
    # pickle.dumps({"a": numpy.array([-1.5, 2], "f4")}, 2) of Python 2.7: texts are bytes
    dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    state = b"(K\x01K\x02\x85" + dtype
    data = np.array([-1.5, 2], "<f4").tobytes()
    path = tmp_path / "weights.pkl"
    start = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    path.write_bytes(start + state + b"\x89U\x08" + data + b"tbs.")
    np.testing.assert_array_equal(read_numpy_pickle(path)["a"], [-1.5, 2])
    text = b"S'" + data.decode("latin1").encode("unicode_escape") + b"'\n"  # protocol 0
    path.write_bytes(start + state + b"\x89" + text + b"tbs.")
    np.testing.assert_array_equal(read_numpy_pickle(path)["a"], [-1.5, 2])


# ---- what no file gets -----------------------------------------------------------------------------------

NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
ENCODE, SET = b"c_codecs\nencode\n", b"cbuiltins\nset\n"
SCALAR, FROM_BUFFER = b"cnumpy.core.multiarray\nscalar\n", b"cnumpy.core.numeric\n_frombuffer\n"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
POINTER = b"C\x08@AAAA\0\0\0"


def dtype_of(code):
    return DTYPE + b"X" + struct.pack("<I", len(code)) + code + b"\x85R"


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def from_buffer(count):
    return FROM_BUFFER + b"(" + POINTER + dtype_of(b"f8") + number(count) + b"\x85X\x01\0\0\0CtR."


HUGE = number(805306368) + b"\x85" + dtype_of(b"f8")
REFUSED = {
    "memory": b"}X\x01\x00\x00\x00a" + NDARRAY + HUGE + b"\x86Rs.",
    "objects over bytes": SET + NDARRAY + number(1) + b"\x85" + dtype_of(b"O") + POINTER + b"\x87R\x85R.",
    "strides of 0": NDARRAY + b"(" + HUGE + POINTER + b"K\x00K\x00\x85tR.",
    "a scalar of records": SCALAR + dtype_of(b"V8") + b"(K\x03X\x01\0\0\0|N)}K\x08K\x01K\x20tb.",
    "an object scalar": SCALAR + dtype_of(b"O") + POINTER + b"\x86R.",
    "a type with fields": dtype_of(b"f8") + b"(K\x03X\x01\0\0\0<NX\x01\0\0\0aNK\x08K\x01K\x20tb.",
    "an array of another class": RECONSTRUCT + DTYPE + b"K\x00\x85C\x01b\x87R.",
    "an array of no type": RECONSTRUCT + NDARRAY + b"K\x00\x85C\x01b\x87R(K\x01)N\x89C\0tb.",
    "a type as a value": dtype_of(b"f8") + b".",
    "an array before its state": b"]" + RECONSTRUCT + NDARRAY + b"K\x00\x85C\x01b\x87Ra.",
    "the state of a dict": b"}}X\x01\0\0\0aK\x01sb.",
    "an object": NDARRAY + b")\x81.",
    "an object by its name": b"(inumpy\nndarray\n.",
    "a persistent id": b"Px\n.",
    "a persistent id on the stack": b"NQ.",
    "an extension": b"\x82\x01.",
    "a buffer elsewhere": b"\x97.",
    "a stacked name": b"X\x02\0\0\0osX\x06\0\0\0system\x93.",
}
AGAIN = b"h\x02h\x01\x85R" * 999
BROKEN = {
    "a long integer": b"\x8b\xff\xff\xff\x7f",
    "long bytes": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    "a long bytearray": b"\x96\xff\xff\xff\xff\0\0\0\0",
    "a long text": b"X\xff\xff\xff\x7f",
    "a long frame": b"\x95\xff\xff\xff\xff\0\0\0\0N.",
    "a far memo": b"Nq\x07.",
    "an empty memo": b"h\x07.",
    "no mark": b"t.",
    "nothing left": b"0.",
    "two values": b"NN.",
    "a deep key": b"}" + b")" + b"\x85" * 50_000 + b"Ns.",
    "a huge key": b"}\x8a\x09\0\0\0\0\0\0\0\0\x01Ns.",
    "a list for a dict": b"]K\x01K\x01s.",
    "more numbers than bytes": from_buffer(2),
    "a negative side": from_buffer(-1),
    "one text many times": b"(X\x00\x01\0\0" + b"a" * 256 + b"q\x01" + ENCODE + b"q\x02" + AGAIN + b"t.",
    "one list many times": b"(](" + b"N" * 999 + b"eq\x01" + SET + b"q\x02" + AGAIN + b"t.",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_gets_no_object_type_state_or_address(tmp_path, kind):
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x03" + REFUSED[kind])
    with pytest.raises(UserError, match=r"weights\.pkl: contains pickled code \(.*\); refused"):
        read_numpy_pickle(path)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_gets_no_more_than_it_holds(tmp_path, kind):
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x03" + BROKEN[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"weights\.pkl: not a pickle of weights, or truncated"):
        read_numpy_pickle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_containers_that_hold_themselves_ten_times_over_take_no_time(tmp_path):
    path = tmp_path / "weights.pkl"
    inner: list[object] = []
    inner += [inner] * 10
    for _ in range(30):
        inner = [inner] * 10
    path.write_bytes(pickle.dumps({"a": inner}))
    assert len(read_numpy_pickle(path)["a"]) == 10


def test_a_file_of_endless_steps_is_given_up(tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x03" + b"N0" * 1_500_000 + b"N.")
    with pytest.raises(UserError, match="not a pickle of weights, or truncated"):
        read_numpy_pickle(path)
