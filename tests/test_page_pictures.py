"""Pictures of a page: which sections are shown, and that a browser shows them."""

import importlib.util
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from dprd_cli.report.measure import ReportOptions
from dprd_cli.report.write import write_report
from pages import make_run
from paths import ROOT

SCRIPT = ROOT / "scripts" / "page_pictures.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("page_pictures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Return a report that nothing was measured for."""
    monkeypatch.chdir(tmp_path)
    make_run("run")
    return write_report(["run"], options=ReportOptions(evaluate=False)).path


def picture(script, monkeypatch, page, *options):
    monkeypatch.setattr(sys, "argv", ["", str(page), "out.png", *options])
    script.main()
    with Image.open("out.png") as image:
        return np.asarray(image.convert("RGB"))


def test_a_section_that_is_not_there_is_an_error_that_names_those_that_are(script, monkeypatch, page):
    with pytest.raises(SystemExit, match=r"no section imags; there are: run1, .*run1-images, .*"):
        picture(script, monkeypatch, page, "--sections", "images", "imags")


def test_sections_are_shown_alone(script, monkeypatch, page):
    if not any(map(shutil.which, script._BROWSERS)):
        pytest.skip("no browser")
    whole, one, two = (
        picture(script, monkeypatch, page, *options)
        for options in ([], ["--sections", "images"], ["--sections", "images", "config"])
    )
    assert one.std() > 1  # not blank
    assert one.shape[1] == two.shape[1] == whole.shape[1] == 1280
    assert 100 < one.shape[0] < two.shape[0] < whole.shape[0]


def test_rows_at_the_end_that_hold_nothing_are_cut_off(script):
    pixels = np.full((300, 8, 3), 240, np.uint8)
    pixels[99, 4] = 0
    assert script.trimmed(Image.fromarray(pixels)).height == 100 + script._MARGIN
    pixels[:] = 240
    assert script.trimmed(Image.fromarray(pixels)).height == 300
