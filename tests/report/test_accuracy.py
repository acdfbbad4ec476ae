"""The sections on how well a run detects."""

import numpy as np

from dprd_cli.report.accuracy import accuracy, confusion, precision_recall
from dprd_cli.report.runs import EvaluationFile


def test_without_an_evaluation_there_is_nothing_to_say(page):
    made, run = page()
    assert "No AP: no evaluation was recorded." in accuracy(made, run)
    for section in (precision_recall, confusion):
        assert section(made, run) == made.measured_on(run)


def test_every_recorded_evaluation_has_a_row(page):
    files = [
        EvaluationFile("results.json", {"images": 4, "bbox": {"AP": 12.34}, "segm": {"AP": None}}),
        EvaluationFile("eval_val.json", {"images": 9, "bbox": {"AP": 56.78}}),
    ]
    html = accuracy(*page(recorded=files))
    assert html.index("12.3") < html.index("56.8")
    assert html.count("mask") >= 1


def test_classes_come_from_the_files_where_nothing_was_analysed(page):
    classes = [{"name": "<fan>", "objects": 3, "bbox_ap": 45.67}]
    file = EvaluationFile("results.json", {"images": 4, "bbox": {"AP": 1.0}, "classes": classes})
    html = accuracy(*page(recorded=[file]))
    assert "By class (results.json)" in html
    assert "&lt;fan&gt;" in html
    assert "45.7" in html


def test_an_analysis_gives_aps_by_class_and_size(page, analysis):
    file = EvaluationFile("results.json", {"images": 6, "bbox": {"AP": 1.0}})
    html = accuracy(*page(analysis=analysis, recorded=[file]))
    assert "box AP by class and size" in html
    assert html.count("<svg") == 2 + ("errors" in analysis["tide"])
    assert "Error types (TIDE)" in html


def test_a_curve_for_each_iou(page, analysis):
    html = precision_recall(*page(analysis=analysis))
    assert html.count("<svg") == 4  # and one over the score
    assert "No masks: the detector or the data has none." in html


def test_small_confusion_matrices_are_written_and_their_shades_are_shares_of_the_row(page, analysis):
    html = confusion(*page(analysis=analysis))
    matrix = np.array(analysis["confusion"])
    share = matrix[0, 0] / matrix[0].sum()
    assert f'style="--share:{share:.3f}" class="cell">{matrix[0, 0]}<' in html
    assert "<svg" not in html


def test_large_confusion_matrices_are_drawn_with_their_largest_entries(page):
    names = [f"class {number}" for number in range(21)]
    matrix = np.zeros((22, 22), int)
    matrix[3, 5], matrix[2, 2], matrix[1, 21] = 7, 50, 60  # neither hits nor misses are confusions
    large = {"class_names": names, "confusion": matrix.tolist(), "score_thresh": 0.5, "iou_thresh": 0.5}
    html = confusion(*page(analysis=large))
    assert "<svg" in html
    rows = html[html.index("Most frequent confusions") :]
    assert "class 3</th><td>class 5</td><td>7" in rows
    assert rows.count("<tr>") == 2  # the titles, and the one confusion
