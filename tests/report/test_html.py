"""Pieces of a page: what is text is escaped once, what is HTML stays."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from dprd_cli.report.html import (
    Html,
    dotted,
    element,
    embed_image,
    inline,
    join,
    number,
    section,
    table,
    text,
)


def test_text_is_escaped_once():
    assert text('<a & "b">') == "&lt;a &amp; &quot;b&quot;&gt;"
    assert element("p", text("&"), title='"') == '<p title="&quot;">&amp;</p>'
    assert text("a\x00b") == "a\ufffdb"
    assert "&lt;td&gt;" in table("", ("a", "b"), [("x", "<td>")])


def test_joining_escapes_plain_text_only():
    assert join(["<", Html("<br>"), element("b", 3)]) == "&lt;<br><b>3</b>"
    assert isinstance(join([]), Html)


def test_attributes_that_are_none_are_left_out():
    assert element("p", class_=None, aria_label="a") == '<p aria-label="a"></p>'
    assert section("A & B", "x", level=2) == '<section id="x"><h2>A &amp; B</h2></section>'


def test_keys_break_after_dots_and_underscores_only():
    assert dotted("model.a_b<") == "model.<wbr>a_<wbr>b&lt;"


@pytest.mark.parametrize(
    ("value", "shown"), [(1.25, "1.2"), (None, "-"), (float("nan"), "-"), ("x", "-"), (True, "-")]
)
def test_numbers(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((560, 100, 3), (100, 560)), ((100, 1120, 3), (560, 50)), ((2, 4000, 3), (560, 1))],
)
def test_images_are_made_smaller_where_they_are_large(shape, shown):
    html = embed_image(np.zeros(shape, np.uint8), "an image")
    assert f'alt="an image" width="{shown[0]}" height="{shown[1]}"' in html
    assert html.startswith('<img src="data:image/jpeg;base64,')


def test_ids_of_two_figures_differ():
    figure = Figure()
    figure.subplots().plot([1, 2], label="$x$ <")
    one, other = inline(figure, "a line", 1), inline(figure, "a line", 2)
    assert one.replace("f1-", "f2-") == other
    assert one != other
    assert 'role="img" aria-label="a line"' in one
    assert "<style" not in one
    assert "<metadata" not in one
