"""The documentation site's hook: pages from the command line, the paper's map, the navigation."""

import importlib
import importlib.util
import re

import pytest
from typer.main import get_command

from dprd_cli.cli import app
from paths import ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

from mkdocs.config import load_config
from mkdocs.structure.files import File, Files

PAPER = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")


def load_hook():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "scripts" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = load_hook()


@pytest.mark.parametrize("place", sorted(set(site.SYMBOL.findall(PAPER))), ids="::".join)
def test_every_symbol_of_the_paper_s_map_exists(place):
    path, symbol = place
    line = (ROOT / "dprd_cli" / path).read_text(encoding="utf-8").splitlines()[site.find_symbol(*place) - 1]
    assert symbol.rpartition(".")[2] in line


@pytest.mark.parametrize(
    "name",
    [f"{kind} {i}" for kind, last in (("Eq.", 3), ("Fig.", 6), ("Table", 5)) for i in range(1, last + 1)],
)
def test_the_map_has_every_equation_figure_and_table(name):
    assert re.search(rf"^\| .*{re.escape(name)}\b.* \| .* \| `", PAPER, re.MULTILINE)


def test_what_does_not_exist_is_an_error():
    for path, symbol in (("ops/boxes.py", "nothing"), ("nothing.py", "x"), ("model/rpn.py", "RPN.nothing")):
        with pytest.raises(LookupError):
            site.find_symbol(path, symbol)


def test_symbols_become_links_with_a_line():
    line = site.find_symbol("ops/boxes.py", "paired_iou")
    text = site._link("ops/boxes.py", "paired_iou")
    page = "api/ops.boxes.md#dprd_cli.ops.boxes.paired_iou"
    assert text == f"[`paired_iou` <small>ops/boxes.py:{line}</small>]({page})"


def test_every_module_with_a_page_exists_and_says_what_it_holds():
    for module in site.api_modules():
        assert importlib.import_module(f"dprd_cli.{module}").__doc__, module
    assert {"api", "training.start", "evaluation.evaluate", "model.detector"} <= set(site.api_modules())


def test_every_command_has_a_page_with_its_options():
    pages = dict(site.walk(get_command(app), ("dprd",)))
    assert {("dprd", "train"), ("dprd", "data", "check"), ("dprd", "export")} <= set(pages)
    for words, command in pages.items():
        text = site.command_page(words, command)
        assert text.startswith(f"# {' '.join(words)}\n")
        flags = [flag for p in command.params for flag in p.opts if flag.startswith("--")]
        assert [flag for flag in flags if flag not in text] == [], words


def test_a_new_page_is_in_the_navigation():
    config = load_config(str(ROOT / "mkdocs.yml"))
    config.plugins._current_plugin = "test"  # mkdocs wants to know who generates a page
    site.on_files(Files([File.generated(config, "some-new-page.md", content="# New")]), config)
    guides = next(entry["Guides"] for entry in config.nav if "Guides" in entry)
    assert guides == ["tutorial.md", "some-new-page.md"]


def test_the_notebook_is_a_page_with_what_its_cells_give():
    text, code = {"cell_type": "markdown", "source": ["# A", " title"]}, {"cell_type": "code"}
    shown = {"data": {"image/jpeg": "AAAA", "text/plain": ["<x>"]}}
    cells = [
        text,
        code | {"source": ["!dprd env"], "outputs": [{"text": ["one\n", "two\n"]}]},
        code | {"source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}, shown]},
    ]
    image = '<img alt="What the code shows" src="data:image/jpeg;base64,AAAA">'
    assert site.notebook_page({"cells": cells}).split("\n\n") == [
        "# A title",
        "```sh\ndprd env\n```",
        "```text\none\ntwo\n```",
        "```python\n1 + 1\n```",
        "```text\n2\n```",
        f"{image}\n",
    ]
