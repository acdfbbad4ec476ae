"""The files of a study."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

from dprd_cli.studies.catalog import STUDIES
from dprd_cli.studies.summary import StudyRun, StudySummary
from dprd_cli.studies.tables import LEGEND
from dprd_cli.studies.write import runs_csv, write_costs, write_study


def test_csv_has_one_line_a_run_and_empty_cells_for_what_was_not_measured(two_rows, study_runs):
    rows = [*study_runs(a=[(0, 10.0)]), StudyRun("b", 0, Path("b"), {"segm_AP": 5.0})]
    found = list(csv.DictReader(io.StringIO(runs_csv(two_rows, rows))))
    assert [(row["variant"], row["bbox_AP"], row["segm_AP"]) for row in found] == [
        ("a", "10.0", ""),
        ("b", "", "5.0"),
    ]


def test_a_study_is_written_whole(tmp_path, two_rows, study_runs):
    values = study_runs(a=[(0, 1.0), (1, 2.0)], b=[(0, 5.0), (1, 6.0)])
    summary = StudySummary(replace(two_rows, note="Mind this."), values, settings={"steps": 3})
    write_study(summary, tmp_path / "new")
    files = {path.name: path for path in (tmp_path / "new").iterdir()}
    assert sorted(files) == ["plot.png", "study.json", "table.csv", "table.md", "table.tex"]
    page = files["table.md"].read_text()
    assert page.startswith("# mine: Mine\n\nMine; mean ± sample standard deviation over seeds; ")
    assert page.endswith("\nMind this.\n")
    assert LEGEND in page
    assert files["table.tex"].read_text().count("\\begin{table}") == 2  # the numbers, and their differences
    assert json.loads(files["study.json"].read_text()) == json.loads(json.dumps(summary.to_json()))


def test_nothing_is_plotted_without_runs_or_of_published_rows(tmp_path, two_rows, study_runs):
    write_study(StudySummary(two_rows, []), tmp_path)
    write_study(StudySummary(STUDIES["table4"], []), tmp_path)
    assert not (tmp_path / "plot.png").exists()


def test_costs_are_written_as_a_table(tmp_path):
    costs = {"D4": {"parameters": 46.04, "macs": 212.5, "memory": 1234.5, "fps": 0.04567}}
    write_costs(StudySummary(STUDIES["table2"], [], costs), tmp_path)
    page = (tmp_path / "costs.md").read_text()
    assert page.startswith(
        "# Part models and feature fusions, with their cost: inference of one image; the paper's"
    )
    assert "| 1234 | 2242 |" in page
    assert "1234 & 2242" in (tmp_path / "costs.tex").read_text()
