"""What the files of an ablation say."""

import json
from pathlib import Path

from dprd_cli.report.studies import folders_in, is_study, read_study, study_section
from pages import make_run


def make_study(**files):
    Path("study").mkdir()
    make_run("study/b")
    make_run("study/a")
    for name, text in files.items():
        Path("study", name).write_text(text)
    return Path("study")


def test_the_tables_of_the_page_are_shown_and_its_headings_are_not():
    text = "# Effects\n\nOf a & b,\nin two lines.\n\n| | AP |\n|---|--:|\n| all | 12.3 |\n\n|\n"
    study = read_study(make_study(**{"table.md": text, "table.csv": "x,y\n"}))
    assert study.content == ("Of a & b, in two lines.", [["", "AP"], ["all", "12.3"]], [[""]])
    assert [run.name for run in study.runs] == ["a", "b"]


def test_without_a_page_the_table_of_numbers_is_shown():
    study = read_study(make_study(**{"table.csv": "variant,AP\none,12.5\n\n"}))
    assert study.content == ([["variant", "AP"], ["one", "12.5"]],)


def test_what_is_lacking_is_said():
    study = read_study(make_study())
    assert study.content == ()
    assert study.lacking == (
        "no study.json: the ablation does not say what it is",
        "no table.md and no table.csv: no table",
        "no plot.png: no plot",
    )


def test_of_the_document_only_texts_and_numbers_are_told():
    study = read_study(make_study(**{"study.json": json.dumps({"title": "T & T", "rows": [1], "n": 3})}))
    assert study.about == {"title": "T & T", "n": 3}


def test_a_folder_of_runs_is_an_ablation_and_one_of_such_folders_is_not():
    study = make_study()
    assert is_study(study)
    assert not is_study(Path())
    assert [path.name for path in folders_in(study)] == ["a", "b"]


def test_short_rows_are_filled_and_tables_numbered():
    text = "| a | b |\n|---|---|\n| <i> |\n\n| c |\n|---|\n| 1 |\n"
    html = study_section(read_study(make_study(**{"table.md": text})), "s1")
    assert "<td></td>" in html
    assert "&lt;i&gt;" in html
    assert "study, table 1" in html
    assert "study, table 2" in html
    assert html.startswith('<section id="s1">')
