"""Every package imports only from those above it; `docs/architecture.md` says what each holds."""

import ast
from graphlib import TopologicalSorter

import pytest

from package_source import MODULES, PACKAGE, SOURCES, TREES

#: Packages and modules of the top level, lowest first.
ORDER = (
    "version",
    "errors",
    "structures",
    "ops",
    "onnx",
    "files",
    "runtime",
    "config",
    "model",
    "drawing",
    "data",
    "weights",
    "inference",
    "distributed",
    "gradcam",
    "export",
    "evaluation",
    "training",
    "benchmark",
    "studies",
    "report",
    "api",
    "__init__",
    "commands",
    "cli",
    "__main__",
)
MOST_ROOMS = 27
MOST_LINES = 350
MOST_COMMAND_LINES = 40


def imports(name):
    """Return the project's modules that a module imports anywhere: in functions and for types too.

    The package itself is the one exception: it knows `api`, which it imports when something is asked of it.
    """
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in names:
            root, _, rest = full.partition(".")
            if root == "dprd_cli":  # `from dprd_cli.a import b`: b may be a module or a name in a
                known = (rest, rest.rpartition(".")[0])
                found.add(next((n for n in known if n in MODULES), "version"))
    return found - {name}


@pytest.mark.parametrize("name", MODULES)
def test_packages_import_only_from_those_above_them(name):
    mine = name.partition(".")[0]
    above = ORDER[: ORDER.index(mine) + 1]
    assert [other for other in imports(name) if other.partition(".")[0] not in above] == []


def test_the_order_is_that_of_the_top_level():
    assert sorted(ORDER) == sorted({name.partition(".")[0] for name in MODULES})


def test_rooms_at_the_top_are_few():
    rooms = [p for p in PACKAGE.iterdir() if p.name != "__pycache__"]
    assert len(rooms) <= MOST_ROOMS


def test_no_module_imports_itself_through_others():
    TopologicalSorter({name: imports(name) for name in MODULES}).prepare()  # raises CycleError


def test_only_build_reads_the_model_config():
    readers = {
        name for name in MODULES if name.startswith("model.") and "config.model_schema" in imports(name)
    }
    assert readers == {"model.build"}
    others = {"config.schema", "config.parts_schema"}
    assert not {name for name in MODULES if name.startswith("model.") and others & imports(name)}


@pytest.mark.parametrize("name", MODULES)
def test_modules_stay_readable(name):
    assert len(SOURCES[name].splitlines()) <= MOST_LINES
