import csv
import io

from dprd_cli.files.atomic import csv_text, write_rows


def test_no_text_is_a_formula_and_numbers_stay_numbers():
    texts = ["=1+1", "+x", "-x", "@x", "\tx", "=cmd|' /C calc'!A0"]
    rows = [{"name": text, "score": -0.25, "count": -3} for text in [*texts, "cat", "\rx", ""]]
    found = list(csv.reader(io.StringIO(csv_text(["name", "score", "count"], rows).decode(), newline="")))
    assert [row[0] for row in found] == [*(f"'{text}" for text in texts), "cat", "\\rx", ""]
    assert {(row[1], row[2]) for row in found} == {("-0.25", "-3")}


def test_headings_are_no_formulas_either(tmp_path):
    write_rows(tmp_path / "a.csv", ["=x", "y"], [{"=x": 1, "y": 2.0}])
    assert (tmp_path / "a.csv").read_text() == "'=x,y\n1,2\n"
