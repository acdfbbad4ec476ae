"""Runs the cells of docs/tutorial.ipynb in one process, without Jupyter, and writes their outputs into it.

    python scripts/tutorial.py [NOTEBOOK] [--folder DIR]

Lines that begin with `!dprd` are commands, as in Jupyter; the last expression of a cell is shown.
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dprd_cli import cli

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial.ipynb"
_LARGEST = 760  # pixels of an image's width in the notebook
_QUALITY = 72  # of its JPEG

Cell = dict[str, Any]


def run_cells(cells: list[Cell], folder: Path, **settings: object) -> Iterator[list[Cell]]:
    """Run code cells one after the other, and yield the outputs of each.

    Args:
        cells: Cells of a notebook; those of text give no output.
        folder: The current folder meanwhile, new or empty.
        settings: Values of names that a cell tagged `parameters` sets, instead of its own.

    Raises:
        RuntimeError: If a command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for cell in cells:
            if cell["cell_type"] != "code":
                yield []
                continue
            outputs = _run("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names |= settings
            yield outputs


def _run(source: str, names: dict[str, Any]) -> list[Cell]:
    """Run one cell and return what it prints and shows."""
    names["_dprd"] = _dprd
    code = re.sub(
        r"^( *)!dprd (.+)$", lambda line: f"{line[1]}_dprd(f{line[2]!r})", source, flags=re.MULTILINE
    )
    tree = ast.parse(code)
    shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    text = io.StringIO()
    value = None
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(shown, ast.Expr):
            value = eval(compile(ast.Expression(shown.value), "cell", "eval"), names)
    outputs: list[Cell] = []
    if printed := _as_a_terminal_leaves_it(text.getvalue()):
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)})
    if value is not None:
        data = _shown(value)
        outputs.append(
            {"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data}
        )
    return outputs


def _dprd(line: str) -> None:
    code = cli.run(shlex.split(line))
    if code:
        raise RuntimeError(f"dprd {line}: exit code {code}")


def _as_a_terminal_leaves_it(text: str) -> str:
    """Drop what a carriage return overwrote, and spaces at the ends of lines."""
    lines = (line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return "\n".join(lines).strip("\n") + "\n" if text.strip() else ""


def _shown(value: object) -> dict[str, Any]:
    """Return what a notebook holds of a value: images as JPEG, made smaller, and the text."""
    text = {"text/plain": repr(value).splitlines(keepends=True)}
    png = getattr(value, "_repr_png_", lambda: None)()
    if png is None and hasattr(value, "plot"):
        image = Image.fromarray(np.asarray(value.plot(parts=True)))
    elif png is not None:
        image = Image.open(io.BytesIO(png))
    else:
        return text
    image = image.convert("RGB")
    if image.width > _LARGEST:
        image = image.resize(
            (_LARGEST, round(image.height * _LARGEST / image.width)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return {"image/jpeg": base64.b64encode(buffer.getvalue()).decode(), **text}


def main() -> None:
    """Run the notebook and store what its cells give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("notebook", nargs="?", type=Path, default=NOTEBOOK)
    parser.add_argument("--folder", type=Path, default=Path("tutorial"), help="new folder to run it in")
    arguments = parser.parse_args()
    path = arguments.notebook.resolve()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    os.environ.setdefault("COLUMNS", "100")
    count = 0
    for cell, outputs in zip(notebook["cells"], run_cells(notebook["cells"], arguments.folder), strict=True):
        if cell["cell_type"] == "code":
            count += 1
            cell |= {"outputs": outputs, "execution_count": count}
            for output in outputs:
                if "execution_count" in output:
                    output["execution_count"] = count
            print(f"cell {count}: {len(json.dumps(outputs))} bytes", file=sys.stderr)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
