"""What SECURITY.md promises, tests hold: those that it names exist, and each promise names some."""

import ast
import re

import pytest

from paths import ROOT

ROWS = [
    line.strip("|").split("|")
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
][2:]
NAMED = [
    (path, name)
    for *_, tests in ROWS
    for path, names in re.findall(r"`(tests/[\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", tests)
    for name in re.findall(r"`(\w+)`", names)
]


def test_every_promise_names_a_test():
    assert ROWS
    for _, promise, tests in ROWS:
        assert re.search(r"`tests/[\w/]+\.py`: `test_\w+`", tests), promise


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_tests_exist(path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_named_test_was_overlooked():
    assert len(NAMED) == sum(len(re.findall(r"`test_\w+`", tests)) for *_, tests in ROWS)
