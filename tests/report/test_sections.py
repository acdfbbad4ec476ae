"""All sections about one run."""

from dprd_cli.report.runs import EvaluationFile
from dprd_cli.report.sections import run_sections


def test_each_section_has_an_anchor_of_its_own(page, analysis):
    sections = run_sections(*page(analysis=analysis))
    titles, anchors = [title for title, *_ in sections], [anchor for _, anchor, _ in sections]
    assert titles == [
        "Accuracy", "Training", "Precision and recall", "Confusion", "Worst and best images", "Parts",
        "Grad-CAM", "Settings", "Environment",
    ]  # fmt: skip
    assert len(set(anchors)) == len(anchors)
    assert all(f'<section id="{anchor}">' in html for _, anchor, html in sections)


def test_files_that_hold_anything_cost_one_section(page):
    made, run = page(recorded=[EvaluationFile("results.json", {"bbox": {}, "classes": 3})])
    found = {title: html for title, _, html in run_sections(made, run)}
    assert "Not shown: the run&#x27;s files are not as expected (TypeError" in found["Accuracy"]
    assert [title for title, html in found.items() if "Not shown" in html] == ["Accuracy"]
