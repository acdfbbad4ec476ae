import re
import tomllib

from dprd_cli.version import __version__
from paths import ROOT


def test_the_version_is_one_that_packages_have():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", __version__)


def test_the_build_reads_it_here():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "dprd_cli/version.py"
