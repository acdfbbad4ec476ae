import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dprd_cli
from dprd_cli.weights.included import INCLUDED
from paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = {"", ".cfg", ".in", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
LEFTOVERS = {".git", ".venv", "build", "dist", "runs", "__pycache__"}

# Put together here, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:" + "|".join(("work", "farm", "root")) + r")/")
INDEX_HOST = re.compile(
    r"pypi\." + r"org|python" + r"hosted|download\.py" + r"torch|index" + r"-url\s*=?\s*http"
)
#: The one index that is named: PyTorch's own, of wheels without CUDA, for those who install by hand.
CPU_WHEELS = re.compile(r"(--index" + r"-url )?https://download\.py" + r"torch\.org/whl/cpu\b")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def project_files():
    """Return the files of the checkout: what git tracks or would, or everything where there is no git."""
    if (ROOT / ".git").exists():
        names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        files = [ROOT / name for name in names.split("\0") if name]
    else:
        files = [path for path in ROOT.rglob("*") if not LEFTOVERS & set(path.relative_to(ROOT).parts)]
    return [path for path in files if path.is_file()]


def pins():
    """Return (requirement, whether it has a hash) for every entry of constraints.txt."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(Requirement(entry.split(" --hash=")[0]), " --hash=sha256:" in entry) for entry in entries]


def declared():
    project = PYPROJECT["project"]
    extras = chain.from_iterable(
        wanted for name, wanted in project["optional-dependencies"].items() if name != "ray"
    )
    return [*project["dependencies"], *extras, *PYPROJECT["build-system"]["requires"]]


def test_importing_the_package_does_not_import_torch():
    code = "import sys, dprd_cli; print('torch' in sys.modules)"
    assert run(sys.executable, "-c", code) == "False\n"


def test_the_installed_version_is_the_package_s():
    assert version("dprd-cli") == dprd_cli.__version__


def test_no_file_holds_a_machine_path_or_an_index_host():
    found = []
    for path in project_files():
        if path.suffix in TEXT:
            text = CPU_WHEELS.sub("", path.read_text(encoding="utf-8"))
            found += [
                (path.name, hit.group()) for p in (MACHINE_PATH, INDEX_HOST) for hit in p.finditer(text)
            ]
    assert found == []


def test_constraints_are_exact_and_hashed_and_name_no_address():
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    loose = [
        str(pin) for pin, hashed in pins() if not hashed or [s.operator for s in pin.specifier] != ["=="]
    ]
    assert loose == []


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_constraints_hold_every_declared_dependency(python):
    linux = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    fits = [pin for pin, _ in pins() if pin.marker is None or pin.marker.evaluate(linux)]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in fits}
    assert len(pinned) == len(fits), "a package is pinned twice"
    missing = [
        text
        for text in declared()
        if not (wanted := Requirement(text)).specifier.contains(
            pinned.get(canonicalize_name(wanted.name), "0")
        )
    ]
    assert missing == []


def test_constraints_are_made_of_all_extras_but_the_one_of_500_mb():
    named = re.findall(r"--extra (\w+)", (ROOT / "scripts" / "constraints.sh").read_text(encoding="utf-8"))
    assert {*named, "ray"} == set(PYPROJECT["project"]["optional-dependencies"])
    assert not {"ray", "pyarrow"} & {pin.name for pin, _ in pins()}


def test_there_is_one_opencv_wheel():
    assert [pin.name for pin, _ in pins() if pin.name.startswith("opencv")] == ["opencv-python-headless"]


def test_the_wheel_holds_the_package_its_type_marker_and_the_checkpoints_that_come_along(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dprd_cli").rglob("*.py")}
    texts = {f"dprd_cli/{name}" for name in ("py.typed", "report/page.css", "report/page.html")}
    info = f"dprd_cli-{dprd_cli.__version__}.dist-info"
    included = [ROOT / "assets" / f"{name}.safetensors" for name in INCLUDED]
    assert sum(path.stat().st_size for path in included) < 40e6
    files = modules | texts | {f"dprd_cli/assets/{path.name}" for path in included}
    assert {name for name in names if not name.startswith(info)} == files
    assert f"{info}/licenses/LICENSE" in names
