"""A study as a table, and tables in Markdown and LaTeX."""

from pathlib import Path

import pytest

from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.study import PaperResult, Study, Variant
from dprd_cli.studies.summary import StudyRun, StudySummary
from dprd_cli.studies.tables import (
    TextTable,
    caption,
    cost,
    costs_caption,
    differences_table,
    latex,
    markdown,
    offsets_table,
    results_table,
    verdict,
)


def test_rows_without_runs_and_without_published_numbers(two_rows, study_runs):
    summary = StudySummary(two_rows, study_runs(a=[(0, 10.0)]))
    table = results_table(summary)
    assert table.headings == ("", "seeds", "box AP", "paper")
    assert table.rows == (("1 A & B", "1", "10.00", "40.00"), ("2 50 % | more", "0", "-", "41.25"))
    assert differences_table(summary) is None
    assert [row[1] for row in results_table(StudySummary(two_rows, [])).rows] == ["0", "0"]


def test_costs_beside_the_papers():
    study = STUDIES["table2"]
    costs = {"D4": {"parameters": 46.04, "macs": 212.5, "memory": 1234.5, "fps": 0.04567}}
    table = results_table(StudySummary(study, [], costs))
    assert table.headings[-4:] == ("memory (MiB)", "paper", "images/s", "paper")
    assert table.rows[4][-8:] == ("46.0", "46", "212", "118", "1234", "2242", "0.046", "9.5")
    assert table.rows[1][-8::2] == ("-", "-", "-", "-")
    assert [cost("fps", value) for value in (123.4, 12.34, 1.5, 0.5)] == ["123", "12.3", "1.50", "0.500"]


def test_checkpoints_stand_above_published_rows():
    study = Study(
        "t",
        "T",
        "Table 4",
        (Variant("mine", "mine", "dprd", {"model.backbone.name": "r50"}),),
        columns=("bbox_AP", "segm_AP"),
        published=(PaperResult("QueryInst", "R101-FPN", {"bbox_AP": 47.0}),),
    )
    summary = StudySummary(study, [StudyRun("mine", 0, Path("x.json"), {"bbox_AP": 43.21})])
    assert results_table(summary).rows == (
        ("mine (measured here)", "R50", "43.2", "-"),
        ("QueryInst", "R101-FPN", "47.0", "-"),
    )


@pytest.mark.parametrize(
    ("b", "word"),
    [
        ([(0, 15.0), (1, 19.0)], "above"),
        ([(0, 5.0), (1, 9.0)], "below"),
        ([(0, 12.0), (1, 16.0)], "unclear"),
        ([(0, 15.0)], "one seed"),
    ],
)
def test_differences_in_words_beside_the_papers(b, word, two_rows, study_runs):
    table = differences_table(StudySummary(two_rows, study_runs(a=[(0, 10.0), (1, 14.0)], b=b)))
    assert table.headings == ("rows", "box AP", "", "paper")
    assert table.rows[0][0] == "2 - 1"
    assert table.rows[0][2:] == (word, "+1.25")
    assert verdict(None) == "-"


def test_what_learned_offsets_are_worth(two_rows):
    rows = [
        StudyRun("a", 0, Path("a"), {"bbox_AP": 10.0, "mean_offsets_bbox_AP": 9.0}),
        StudyRun("a", 1, Path("a"), {"bbox_AP": 20.0, "mean_offsets_bbox_AP": 18.5}),
    ]
    assert offsets_table(StudySummary(two_rows, rows)).rows == (
        ("1 box AP", "15.00 ± 7.07", "+1.25 ± 0.35", "above", "-", "-"),
    )
    assert offsets_table(StudySummary(two_rows, [])) is None


def test_captions_say_what_the_papers_numbers_are_of(two_rows):
    summary = StudySummary(two_rows, [])
    assert caption(summary).endswith("; the paper's numbers (Table 9) are of R50-FPN on COCO")
    assert costs_caption(summary).startswith("Mine: inference of one image; the paper's (Table 9) are")
    own = StudySummary(Study("own", "Own", ""), [])
    assert caption(own) == "Own; mean ± sample standard deviation over seeds"
    assert costs_caption(own) == "Own: inference of one image"
    published = Study("t", "T", "Table 4", published=(PaperResult("X", "R50", {}),))
    assert caption(StudySummary(published, [])) == (
        "T (Table 4); the rows below those measured here are the paper's"
    )


def test_latex_and_markdown_escape_what_they_must():
    table = TextTable(("", "100 %"), (("A & B_1 {x} #1 $ ~ ^ \\", "1 ± 2"), ("a | b", "3")))
    text = latex(table, "50 % of R&D")
    assert "\\caption{50 \\% of R\\&D}" in text
    row = next(line for line in text.splitlines() if "A \\& B" in line)
    assert row == (
        "  A \\& B\\_1 \\{x\\} \\#1 \\$ \\textasciitilde{} \\textasciicircum{} \\textbackslash{} "
        "& 1 $\\pm$ 2 \\\\"
    )
    for word in ("table", "tabular"):
        assert text.count(f"\\begin{{{word}}}") == text.count(f"\\end{{{word}}}") == 1
    lines = markdown(table).splitlines()
    assert lines[1] == "|---|--:|"
    assert lines[3] == "| a \\| b | 3 |"
