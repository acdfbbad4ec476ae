"""Where tests find files; on the import path of every test (pyproject.toml)."""

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
#: The smallest model and run that pass through every module.
TINY = TESTS / "tiny.toml"
#: Detectron2's own outputs.
PARITY = TESTS / "fixtures" / "parity"
#: Real photographs; tests on them skip where it is absent.
DATA = Path(os.environ.get("DPRD_DATA_DIR", ROOT.parent / "shared" / "data"))
#: Runs `dprd` command lines in children of a process that has imported torch, with faults on request.
FAULT_SERVER = [sys.executable, str(TESTS / "training" / "fault_server.py")]


def visible(folder):
    """Return the sorted names of what lies in a folder, without the hidden list of what a command wrote."""
    return sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith(".written-by-"))
