from rich.table import Table

from dprd_cli.commands._tables import LiteralConsole, print_results, print_rows
from dprd_cli.runtime.progress import lines_on_stderr, say

NAMES = ["[/red]", "[t-72]", "[bold]x[/bold]", ":smile:", "a\x1b[2Jb"]


def test_names_are_text_and_not_markup(capsys):
    print_rows("[/class]", ("[red]n",), [(name, "1") for name in NAMES])
    out = capsys.readouterr().out
    assert all(name in out for name in (*NAMES[:4], r"a\x1b[2Jb", "[/class]", "[red]n"))
    assert "\x1b" not in out


def test_a_long_name_is_whole_in_a_file(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    metrics = dict.fromkeys(("bbox_ap", "bbox_ap50", "segm_ap", "segm_ap50"), 12.3)
    name = "ground vehicle of the airport " * 4
    print_results({"bbox": {}, "segm": {"AP": 1.0}, "classes": [{"name": name, "objects": 3} | metrics]})
    assert name in capsys.readouterr().out


def test_headings_may_have_two_lines(capsys):
    console = LiteralConsole()
    table = Table("two\nlines")
    table.add_row("[/]")
    console.print(table, "[/x]")
    out = capsys.readouterr().out
    assert "two" in out.splitlines()[1]
    assert "lines" in out.splitlines()[2]
    assert "[/]" in out
    assert "[/x]" in out


def test_what_is_said_is_one_line(capsys):
    with lines_on_stderr():
        say("results: a\nb\x1b[31m")
    assert capsys.readouterr().err == "results: a\\nb\\x1b[31m\n"


def test_which_part_decided_is_a_table_where_it_is_known(capsys):
    def role(fall, decides):
        return {"share": 0.2, "fall": fall, "decides": decides}

    roles = [role(0.12, 0.5), role(-0.01, 0.0), role(0.0, 0.0), role(0.3, 0.25)]
    group = {"name": "[/cat]", "objects": 4, "per_part": roles, "whole": role(0.02, 0.25)}
    names = ["left", "right", "upper", "bottom"]
    results = {"bbox": {}, "classes": []}
    told = {"parts": names, "all": group | {"name": "all"}, "classes": [group]}
    print_results({**results, "parts": told})
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("which part decided (L left, R right, U upper, B bottom):")
    assert lines[start + 2].split() == ["class", "objects", "L", "R", "U", "B", "whole"]
    cat = next(line for line in lines if "[/cat]" in line)
    assert cat.split() == ["[/cat]", "4", "0.12", "50%", "-0.01", "0.00", "0.30", "25%", "0.02", "25%"]
    unknown = group | {"whole": {"share": None, "fall": None, "decides": None}}
    print_results({**results, "parts": told | {"all": unknown}})
    print_results({**results, "parts": {"parts": [], "all": None, "classes": []}})
    assert "decided" not in capsys.readouterr().out


def test_where_parts_are_is_a_table_where_they_choose_places(capsys):
    part = {"part": "left", "shares": [0.25, 0.0, 0.75], "entropy": 0.5, "steadiness": 0.875}
    still = part | {"part": "right", "shares": [1.0, 0.0, 0.0]}
    places = {
        "shifts": [[0.0, 0.0, 1.0], [0.5, 0.0, 1.0], [-0.5, 0.5, 1.0]],
        "most_entropy": 1.0986,
        "all": {"name": "all", "objects": 8, "per_part": [part, still], "together": 0.25, "still": 0.125},
    }
    parts = {"parts": [], "all": None, "classes": [], "places": places}
    print_results({"bbox": {}, "classes": [], "parts": parts})
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("where the parts of 8 objects are:")
    assert lines[start + 2].split() == ["part", "reference", "other", "place", "entropy", "steady"]
    assert lines[start + 4].split() == ["left", "25%", "(-0.5,", "+0.5)", "75%", "0.50", "88%"]
    assert lines[start + 5].split() == ["right", "100%", "-", "0.50", "88%"]
    assert "all parts at one place: 25% of the objects, at their reference parts: 12%" in lines[-1]
