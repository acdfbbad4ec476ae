"""Annotation files of any content: they are loaded, or refused in one line that names the file."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_folders import both_splits
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.check import check_data
from dprd_cli.errors import DataError
from small_coco import RING, TREE


def places(tree, path=()):
    """Yield the path of every value."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


EDGES = [2**31, 2**53 + 1, 2**63, 10**30, 10**400, -1, 0, 1e308, 1e-320, -0.0, float("nan"), float("inf")]
EDGES += ["", "\0", "../a.png", "/etc/passwd", "C:\\a.png", "a.png/", ".", "x" * 5000, "\ud800", "a\nb", "é"]
EDGES += [None, True, [], {}, [[]], [[1, 1]], [RING, [1e9] * 6], {"size": [8, 12], "counts": [96]}]
EDGES += [{"size": [8, 12], "counts": "é"}, {"size": [8, 12], "counts": [2**40, -(2**40) + 96]}]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.sampled_from(EDGES) | st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
changes = st.tuples(st.sampled_from([*places(TREE)]), st.sampled_from(["set", "drop", "repeat"]), values)


def holds(where, key):
    """Whether a container has a key or an index."""
    return key in where if isinstance(where, dict) else isinstance(where, list) and key in range(len(where))


def mutate(steps):
    """Return the tree after some changes; those whose place is gone do nothing."""
    tree = copy.deepcopy(TREE)
    for (*path, last), action, value in steps:
        where = tree
        for key in path:
            where = where[key] if holds(where, key) else None
        if not holds(where, last):
            continue
        if action == "set":
            where[last] = copy.deepcopy(value)
        elif action == "drop":
            del where[last]
        elif isinstance(where, list):
            where.append(copy.deepcopy(where[last]))
    return tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (12, 8)).save(root / "images" / name)
    (root / "val.json").write_text(json.dumps(TREE))
    return root


def use(folder):
    """Load the splits and read all that training and evaluation would."""
    for data in both_splits(DataConfig(path=str(folder), workers=0)):
        for index in range(len(data)):
            assert data[index].boxes.shape[1] == 4
        assert data.coco()["images"]


def refusal(folder):
    """Return the line that the data is refused with, or None."""
    try:
        use(folder)
    except DataError as error:
        return str(error)
    return None


FUZZ = settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(steps=st.lists(changes, min_size=1, max_size=4))
def test_any_mutation_loads_or_is_refused_by_name(folder, steps):
    (folder / "train.json").write_text(json.dumps(mutate(steps)))
    line = refusal(folder)
    assert line is None or (str(folder) in line and "\n" not in line)


@FUZZ
@given(steps=st.lists(changes, min_size=1, max_size=4))
def test_the_whole_check_agrees_with_the_loader(folder, steps):
    (folder / "train.json").write_text(json.dumps(mutate(steps)))
    config = DataConfig(path=str(folder), workers=0)
    found = [problem for check in check_data(config, workers=0) for problem in check.problems.of("error")]
    assert bool(found) == (refusal(folder) is not None)
    json.dumps([problem.to_json() for problem in found])


@settings(FUZZ, max_examples=60)
@given(
    content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_are_refused_by_name(folder, content):
    (folder / "train.json").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.json: (not|cannot)"):
        use(folder)


@pytest.fixture(scope="module")
def yolo(tmp_path_factory):
    root = tmp_path_factory.mktemp("yolo")
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True)
        Image.new("RGB", (12, 8)).save(root / "images" / split / "a.png")
        (root / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return root


words = st.sampled_from(
    ["names:", "train:", "val: ", "path:", "[", "]", "{", "}", "&a", "*a", "<<: ", "!!python/", "- "]
)
words |= st.sampled_from(
    ["images/train", "../", "cat", "0", "-1", "1e999", ".nan", "\n", "  ", "'", "\x00", "2026-99-01"]
)


@settings(FUZZ, max_examples=150)
@given(parts=st.lists(words | st.text(max_size=3), max_size=12), sound=st.booleans())
def test_any_yaml_loads_or_is_refused_by_name(yolo, parts, sound):
    text = ("names: [cat]\n" if sound else "") + "".join(parts)
    (yolo / "data.yaml").write_bytes(text.encode("utf-8", "replace"))
    (yolo / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    line = refusal(yolo)
    assert line is None or (str(yolo) in line and "\n" not in line)


numbers = st.sampled_from(
    ["0", "0.5", "1", "1.005", "-0.2", "nan", "1e400", "x", "1_0", "\ufeff", "\x00", "9" * 400]
)


@settings(FUZZ, max_examples=150)
@given(lines=st.lists(st.lists(numbers, max_size=10), max_size=3))
def test_any_label_file_loads_or_is_refused_by_name(yolo, lines):
    (yolo / "data.yaml").write_text("names: [cat]\n")
    (yolo / "labels/train/a.txt").write_text("\n".join(map(" ".join, lines)), encoding="utf-8")
    line = refusal(yolo)
    assert line is None or (str(yolo) in line and "\n" not in line)
