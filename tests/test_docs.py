"""What the pages say exists: commands and options, config keys, modules, links."""

import re

import pytest

from command_tree import LEAVES, ROOT_COMMAND, flags_of
from dprd_cli import errors
from dprd_cli.config.aliases import RENAMED
from dprd_cli.config.backbone_names import CLASSICS
from dprd_cli.config.presets import PRESETS, SCHEDULES
from dprd_cli.config.spellings import SAME_KEYS
from dprd_cli.config.tree import known_keys
from paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "scripts" / "demo.sh"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def options():
    """Return command -> its options, `data synth` being one command."""
    shared = {"--help", "-h", "--verbose", "-v", "--quiet", "-q"}
    return {words: flags_of(command) | shared for words, command in LEAVES.items()}


@pages
def test_commands_and_options_exist(page):
    known = options()
    wrong = []
    for line in re.findall(
        r"(?:^|[ `/])dprd ([a-z][^`#\n]*)", page.read_text(encoding="utf-8"), re.MULTILINE
    ):
        command = next((name for name in known if f"{line} ".startswith(f"{name} ")), None)
        flags = re.findall(r"(?<!\S)(--[a-z-]+)", line)
        if command is None or not set(flags) <= known[command]:
            wrong.append(line)
    assert wrong == []


@pages
def test_config_keys_exist(page):
    # not TOML's headers, modules, nor methods of the Python interface's `model`
    sections = r"(?<!\[)(?<!dprd_cli\.)\b((?:model|data|train)\.[a-z0-9_]+(?:\.[a-z0-9_]+)*)\b(?!\()"
    keys = {
        key
        for key in re.findall(sections, page.read_text(encoding="utf-8"))
        if not key.endswith((".json", ".md", ".py", ".safetensors", ".txt", ".yaml"))
    }
    assert keys - set(known_keys()) - set(RENAMED) - set(SAME_KEYS) == set()


@pages
def test_modules_exist(page):
    names = re.findall(
        r"`((?:[a-z_]+/)*[a-z_]+\.py|[a-z_]+(?:/[a-z_]+)*/)`", page.read_text(encoding="utf-8")
    )
    places = (ROOT, ROOT / "dprd_cli")
    made_by_runs = {
        "runs/",
        "parts/",
        "predictions/",
        "dataset/",
        "yolo/",
        "images/",
        "labels/",
        "cv2/",
        "utils.py",
    }
    in_data = {"train/", "val/", "valid/", "validation/"}
    assert [
        n for n in names if n not in made_by_runs | in_data and not any((p / n).exists() for p in places)
    ] == []


@pages
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_says_what_this_is_and_names_the_two_commands():
    first = README.split("## ")[0]
    assert first.index("**") < first.index("![") < first.index("    pip install .")
    assert re.search(r"^    make demo .*\n    make test ", README, re.MULTILINE)
    assert len(README.splitlines()) <= 160


def test_the_readme_lists_every_command():
    listed = set(re.findall(r"^\| `dprd ([a-z-]+)", README, re.MULTILINE))
    assert listed == set(ROOT_COMMAND.commands)


FAMILIES = ("convnext_tiny", "swin_v2_t", "efficientnet_v2_s", "regnet_y_400mf", "timm:NAME")


@pytest.mark.parametrize(
    "name",
    [*(p for p in PRESETS if not p.endswith(("-small", "-medium"))), *SCHEDULES, *CLASSICS, *FAMILIES],
    ids=str,
)
def test_the_configuration_page_names_every_preset_schedule_and_backbone(name):
    assert f"`{name}`" in CONFIGURATION


def test_the_machine_page_names_every_exit_code():
    machine = (ROOT / "docs" / "machine.md").read_text(encoding="utf-8")
    table = machine.partition("| exit code |")[2].partition("\n\n")[0]
    codes = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")
    }
    assert codes == {0} | {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
