"""The opcodes of a pickle, without a dialect that gives names a meaning."""

import io
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dprd_cli.weights.pickle_machine import BrokenPickleError, Dialect, PickleMachine, RefusedPickleError

BYTES = st.binary()
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=12,
)


def run(data):
    return PickleMachine(io.BytesIO(data), len(data), Dialect({}), budget=1 << 20).run()


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back(content, protocol):
    assert run(pickle.dumps(content, protocol)) == content


@pytest.mark.parametrize("content", [pickle.Pickler, print, complex(1, 2), ValueError("x")])
def test_names_have_no_meaning_of_their_own(content):
    with pytest.raises((RefusedPickleError, BrokenPickleError)):
        run(pickle.dumps(content))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_plain_values_or_an_error(data):
    """Whatever an end of file or an odd opcode leads to is an exception; a value holds nothing that acts."""
    try:
        content = run(data)
    except Exception:
        return
    todo = [content]
    while todo:
        value = todo.pop()
        assert value is None or type(value) in (bool, int, float, str, bytes, list, dict, tuple)
        todo += [*value] if isinstance(value, list | tuple) else []
        todo += [*value, *value.values()] if isinstance(value, dict) else []
