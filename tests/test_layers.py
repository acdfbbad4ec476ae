"""Every module imports only from the rows above its own; the table is in docs/architecture.md."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dprd_cli

PACKAGE = Path(dprd_cli.__file__).parent

#: Modules and sub-packages from the ground up; those of one row do not know each other. The checkpoint builds
#: the model that it holds; what fills a model from foreign files reads them with the checkpoint's reader.
ROWS = (
    ("__init__", "errors", "ranks"),
    (
        "config",
        "device",
        "structures",
        "boxes",
        "masks",
        "canvas",
        "zoo",
        "downloads",
        "progress",
        "numpy_pickle",
        "reference_weights",
        "ablations",
        "remote",
        "sources",
        "video",
        "launch",
    ),
    ("presets", "study_files", "data", "drawing", "environment", "distributed"),
    ("model", "studies", "sharing"),
    ("checkpoint",),
    ("model.weights", "evaluation", "tta", "results"),
    ("weights", "prediction"),
    ("inference", "parity", "cam", "labelme", "origins", "exporting"),
    ("figures", "cam_figures", "data_figures", "training", "outputs", "benchmark", "export_check"),
    ("api", "writer", "report"),
    ("commands",),
    ("cli",),
    ("__main__",),
)


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name):
    """Return the project's modules that a module imports anywhere: in functions and for types too.

    The package itself is the one exception: it knows `api`, which it imports when something is asked of it.
    """
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
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
                found.add(next(n for n in (rest, rest.rpartition(".")[0], "__init__") if n in MODULES))
    return found - {name} - ({"api", "prediction"} if name == "__init__" else set())


def entry(name):
    """Return (row, entry) of a module: that of its longest prefix in the table."""
    known = {item: (row, item) for row, items in enumerate(ROWS) for item in items}
    parts = name.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((known[prefix] for prefix in prefixes if prefix in known), None)


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_only_from_rows_above(name):
    mine = entry(name)
    assert mine is not None, f"{name} is in no row of ROWS"
    wrong = [other for other in imports(name) if entry(other) != mine and entry(other)[0] >= mine[0]]
    assert wrong == []


def test_every_entry_of_the_table_exists():
    assert [item for items in ROWS for item in items if item not in MODULES] == []


def test_no_module_imports_itself_through_others():
    TopologicalSorter({name: imports(name) for name in MODULES}).prepare()  # raises CycleError


def test_only_build_reads_the_model_config():
    readers = {name for name in MODULES if name.startswith("model") and "config" in imports(name)}
    assert readers == {"model.build"}


def test_the_tests_mirror_the_tree():
    tests = Path(__file__).parent
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    packages = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")}
    assert folders <= packages
