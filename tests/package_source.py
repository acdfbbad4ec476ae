"""The source of `dprd_cli`, for tests that hold it to its layout and language."""

import ast
from pathlib import Path

import dprd_cli

PACKAGE = Path(dprd_cli.__file__).parent


def module_name(path):
    """Return `model.parts` for a file of the package; a package has its own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


#: Name of a module, without the project's -> its file.
MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}
