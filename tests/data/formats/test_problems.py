"""Collecting what is wrong: one line for a kind, one line to stop with."""

from pathlib import Path

import pytest

from data_folders import refused
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.errors import DataError


@pytest.mark.parametrize(
    ("number", "word", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (2, "class", "2 classes"),
        (3, "box", "3 boxes"),
        (2, "category", "2 categories"),
        (1, "category", "1 category"),
    ],
)
def test_plural(number, word, text):
    assert plural(number, word) == text


def test_first_five():
    assert first_five([]) == ""
    assert first_five(range(5)) == "0, 1, 2, 3, 4"
    assert first_five(range(6)) == "0, 1, 2, 3, 4, ..."


def test_of_a_kind_the_first_is_said_in_words_and_all_are_counted():
    problems = Problems(Path("t.json"))
    for ident in (7, 3, 9):
        problems.add("area", f"annotation {ident} has no area", ident)
    (problem,) = problems.of("error")
    assert problem.line() == "annotation 7 has no area (3 such: 7, 3, 9)"
    assert (problem.number, problem.who) == (3, ["7", "3", "9"])
    assert problem.to_json() == {
        "kind": "area",
        "severity": "error",
        "count": 3,
        "message": "annotation 7 has no area",
        "first": ["7", "3", "9"],
        "source": "t.json",
        "advice": "correct the file",
    }


def test_a_line_that_counts_already_is_left_alone():
    problems = Problems()
    problems.count("far", "2 boxes far off (1, 2)", [1, 2])
    problems.count("gaps", "ids have gaps", [1, 2, 3], "note")
    assert problems.warnings == ["2 boxes far off (1, 2)"]
    assert [problem.line() for problem in problems.of("note")] == ["ids have gaps"]
    problems.stop()  # neither stops


def test_the_first_error_stops_and_the_others_are_counted():
    problems = Problems(Path("t.json"))
    problems.stop()
    problems.count("odd", "odd but fine", [1])
    problems.add("a", "the first", 1)
    assert refused(problems.stop) == "t.json: the first; correct the file"
    problems.add("b", "another", 2, "do something else")
    problems.add("b", "another still", 3)
    assert refused(problems.stop) == "t.json: the first; 2 other problems; correct the file"


def test_an_error_that_ends_a_part_of_the_check_names_its_own_file():
    problems = Problems(Path("t.json"))
    problems.take("files", DataError("images: no such folder"))
    problems.take("files", DataError("later ones of the kind are dropped"))
    (problem,) = problems.of("error")
    assert (problem.line(), problem.number, problem.file) == ("images: no such folder", 1, "")


def test_collections_together_have_what_each_has():
    one, other = Problems(Path("a.xml")), Problems(Path("b.xml"))
    one.add("size", "a is odd", "a")
    other.add("size", "b is odd", "b")
    other.add("name", "b has no name", "b")
    one.extend(other)
    assert [(p.kind, p.message, p.who, p.file) for p in one.of("error")] == [
        ("size", "a is odd", ["a", "b"], "a.xml"),
        ("name", "b has no name", ["b"], "b.xml"),
    ]
