"""The figure says what is in the document, whatever is missing there."""

import io

import pytest

from dprd_cli.evaluation.compare_figure import comparison_figure

NONE = dict.fromkeys(("a", "b", "difference", "low", "high", "p"))


def row(difference, low=None, high=None):
    return {"a": 50.0 + difference, "b": 50.0, "difference": difference, "low": low, "high": high, "p": 0.1}


def document(classes, masks=True):
    names = ("AP", "AP50", "AP75")
    made = [
        {
            "name": f"class {n} $_x$",
            "category_id": n,
            "objects": 5 + n,
            "bbox": {"AP": one},
            "segm": {"AP": one},
        }
        for n, one in enumerate(classes)
    ]
    return {
        **{key: {"run": f"runs/{'long/' * 30}{key}.pt"} for key in "ab"},
        **{"images": 12, "resamples": 100, "interval": 95.0, "classes": made},
        "bbox": {name: row(2.0, 1.0, 3.0) for name in names},
        "segm": {name: row(-1.0, -2.0, 0.5) for name in names} if masks else None,
    }


def labels(figure):
    figure.savefig(io.BytesIO(), format="png")
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


@pytest.mark.parametrize("masks", [True, False])
def test_totals_then_classes_the_first_one_best_last(masks):
    found = labels(comparison_figure(document([row(-3.0), row(4.0, 1.0, 5.0), NONE], masks)))
    totals = [f"{kind} {name}" for kind in ("box", "mask")[: 1 + masks] for name in ("AP", "AP50", "AP75")]
    assert found == [*totals, "AP of class 1 $_x$ (6)", "AP of class 0 $_x$ (5)"]


def test_a_point_is_filled_where_zero_is_left_out():
    figure = comparison_figure(document([row(1.0)]))
    points = [
        line for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata()) == 1
    ]
    assert [point.get_markerfacecolor() != "white" for point in points] == [True] * 3 + [False] * 3
    assert [float(point.get_xdata()[0]) for point in points] == [2.0] * 3 + [-1.0] * 3


def test_of_many_classes_those_that_differ_most():
    found = labels(comparison_figure(document([row(float(n)) for n in range(50)]), most=5))
    assert [name.split()[3] for name in found[6:]] == ["49", "48", "47", "46", "45"]


def test_the_title_keeps_the_end_of_a_path():
    title = comparison_figure(document([row(1.0)])).axes[0].get_title(loc="left").splitlines()
    assert [line[:4] for line in title[:2]] == ["A: …", "B: …"]
    assert [line[-4:] for line in title[:2]] == ["a.pt", "b.pt"]
    assert title[2] == "95 % intervals, 100 resamples of 12 images"
