"""A study's arithmetic, by hand, and its tables in every format."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.figures import plot_study
from dprd_cli.studies.study import PaperResult, Study, Variant
from dprd_cli.studies.summary import Run, Summary, runs_csv, spread
from dprd_cli.studies.tables import (
    TextTable,
    cost,
    differences_table,
    document,
    latex,
    markdown,
    offsets_table,
    results_table,
)

STUDY = Study(
    "mine",
    "Mine",
    "Table 9",
    (
        Variant("a", "A & B", "dprd", paper={"bbox_AP": 40.0, "segm_AP": 30.5}),
        Variant(
            "b", "50 % | more", "dprd", base="a", changes=("model.parts.sigma",), paper={"bbox_AP": 41.25}
        ),
    ),
)


def runs(**values):
    """Return runs from VARIANT=[(seed, box AP), ...]."""
    return [Run(key, seed, Path(key), {"bbox_AP": ap}) for key, rows in values.items() for seed, ap in rows]


def test_mean_and_deviation_by_hand():
    # mean (1 + 2 + 6) / 3 = 3; squares 4 + 1 + 9 = 14; / (3 - 1) = 7
    found = spread([1, 2, 6])
    assert found.mean == 3
    assert found.sd == pytest.approx(7**0.5)
    assert spread([5.0]).sd is None


def test_a_difference_counts_common_seeds_and_its_deviation_is_of_the_pairs():
    summary = Summary(STUDY, runs(a=[(0, 10.0), (1, 14.0), (2, 90.0)], b=[(0, 13.0), (1, 18.0)]))
    found = summary.compare("b", "a", "bbox_AP")
    assert found.seeds == (0, 1)  # seed 2 has no b
    assert found.difference.mean == 3.5  # 3 and 4
    assert found.difference.sd == pytest.approx(0.5**0.5)  # (0.25 + 0.25) / 1
    # a: 10, 14 -> sqrt(8) = 2.83; b: 13, 18 -> sqrt(12.5) = 3.54 > 3.5
    assert found.sds == pytest.approx((12.5**0.5, 8**0.5))
    assert found.clear is False
    assert found.paper == 1.25


@pytest.mark.parametrize(
    ("b", "clear", "word"),
    [
        ([(0, 15.0), (1, 19.0)], True, "above"),  # + 5, deviations 2.83, 2.83 and 0
        ([(0, 5.0), (1, 9.0)], True, "below"),
        ([(0, 12.0), (1, 16.0)], False, "unclear"),  # + 2 < 2.83
        ([(0, 15.0)], None, "one seed"),
    ],
)
def test_what_is_called_above_and_below(b, clear, word):
    summary = Summary(STUDY, runs(a=[(0, 10.0), (1, 14.0)], b=b))
    assert summary.compare("b", "a", "bbox_AP").clear is clear
    table = differences_table(summary)
    assert table.headings == ("rows", "box AP", "", "paper")
    assert table.rows[0][0] == "2 - 1"
    assert table.rows[0][2:] == (word, "+1.25")


def test_measurements_of_one_network_need_no_spread_over_trainings():
    folder = Path("a")
    rows = [
        Run("a", 0, folder, {"bbox_AP": 10.0, "mean_offsets_bbox_AP": 9.0}),
        Run("a", 1, folder, {"bbox_AP": 20.0, "mean_offsets_bbox_AP": 18.5}),
    ]
    (found,) = Summary(STUDY, rows).offsets()
    assert (found.other, found.difference.mean, found.clear) == ("mean", 1.25, True)  # 1 and 1.5; sd 0.35
    assert offsets_table(Summary(STUDY, rows)).rows == (
        ("1 box AP", "15.00 ± 7.07", "+1.25 ± 0.35", "above", "-", "-"),
    )


def test_rows_that_measure_the_same_networks_are_compared_pair_by_pair():
    # 3.25 is more than the 0.35 of the pairs, less than the 7 of either's trainings
    values = runs(a=[(0, 10.0), (1, 20.0)], b=[(0, 13.0), (1, 23.5)])
    assert Summary(STUDY, values).compare("b", "a", "bbox_AP").clear is False
    assert Summary(replace(STUDY, same_networks=True), values).compare("b", "a", "bbox_AP").clear is True


def test_rows_without_runs_and_without_published_numbers():
    summary = Summary(STUDY, runs(a=[(0, 10.0)]))
    table = results_table(summary)
    assert table.headings == ("", "seeds", "box AP", "paper")
    assert table.rows == (("1 A & B", "1", "10.00", "40.00"), ("2 50 % | more", "0", "-", "41.25"))
    assert differences_table(summary) is None
    assert [row[1] for row in results_table(Summary(STUDY, [])).rows] == ["0", "0"]


def test_costs_beside_the_papers():
    study = STUDIES["table2"]
    costs = {"D4": {"parameters": 46.04, "macs": 212.5, "memory": 1234.5, "fps": 0.04567}}
    table = results_table(Summary(study, [], costs))
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
    summary = Summary(study, [Run("mine", 0, Path("x.json"), {"bbox_AP": 43.21})])
    assert results_table(summary).rows == (
        ("mine (measured here)", "R50", "43.2", "-"),
        ("QueryInst", "R101-FPN", "47.0", "-"),
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


def test_csv_has_one_line_a_run_and_empty_cells_for_what_was_not_measured():
    rows = [*runs(a=[(0, 10.0)]), Run("b", 0, Path("b"), {"segm_AP": 5.0})]
    found = list(csv.DictReader(io.StringIO(runs_csv(STUDY, rows))))
    assert [(row["variant"], row["bbox_AP"], row["segm_AP"]) for row in found] == [
        ("a", "10.0", ""),
        ("b", "", "5.0"),
    ]


def test_the_document_holds_differences_in_numbers():
    content = document(Summary(STUDY, runs(a=[(0, 1.0), (1, 2.0)], b=[(0, 5.0), (1, 6.0)])), {"steps": 3})
    assert content["rows"][1]["measured"]["bbox_AP"]["mean"] == 5.5
    assert content["comparisons"][0]["difference"]["values"] == (4.0, 4.0)
    assert content["comparisons"][0]["clear"] is True
    assert content["settings"] == {"steps": 3}


@pytest.mark.parametrize("name", ["table1", "fig4"])
def test_plots_are_drawn_from_one_run_on(name, tmp_path):
    study = STUDIES[name]
    key = study.variants[0].key
    plot_study(
        Summary(study, [Run(key, 0, Path(key), {"bbox_AP": 10.0, "segm_AP": 8.0})]), tmp_path / "plot.png"
    )
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
