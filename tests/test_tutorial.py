"""The notebook: its cells run, and what stands below them was made by running them."""

import base64
import importlib.util
import io
import json

import pytest
from PIL import Image

from paths import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
#: What takes long, and is tested elsewhere.
LONG = "!dprd report"


@pytest.fixture(scope="module")
def tutorial():
    spec = importlib.util.spec_from_file_location("tutorial", ROOT / "scripts" / "tutorial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kinds(outputs):
    return [(output["output_type"], *sorted(output.get("data", {}))) for output in outputs]


@pytest.mark.slow
def test_the_cells_run_and_give_what_is_stored_in_kind(tutorial, tmp_path):
    cells = [cell for cell in NOTEBOOK["cells"] if not "".join(cell["source"]).startswith(LONG)]
    assert len(cells) == len(NOTEBOOK["cells"]) - 1
    made = list(tutorial.run_cells(cells, tmp_path / "new", TRAIN=4, VAL=2, STEPS=1, SIZE=64))
    for cell, outputs in zip(cells, made, strict=True):
        stored = kinds(cell.get("outputs", []))
        if stored and stored[0][0] == "stream" and not outputs:
            continue  # nothing was found after one step
        assert kinds(outputs) == stored, "".join(cell["source"])


def test_what_is_stored_is_whole_and_small():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    images = [
        data for cell in CODE for out in cell["outputs"] if (data := out.get("data", {}).get("image/jpeg"))
    ]
    assert len(images) >= 4
    assert sum(len(base64.b64decode(data)) for data in images) < 300_000
    for data in images:
        assert Image.open(io.BytesIO(base64.b64decode(data))).width <= 760
    text = json.dumps(NOTEBOOK)
    assert "Traceback" not in text
    assert "/tmp" not in text


def test_a_command_that_fails_stops_it(tutorial, tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "source": ["!dprd data check gone"]}
    with pytest.raises(RuntimeError, match="dprd data check gone: exit code 3"):
        list(tutorial.run_cells([cell], tmp_path))


def test_what_a_cell_gives(tutorial, tmp_path):
    def run(*source, **settings):
        cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [*source]}
        last = {"cell_type": "code", "metadata": {}, "source": ["N"]}
        first, second = tutorial.run_cells([cell, last], tmp_path, **settings)
        return first, second[0]["data"]["text/plain"]

    assert run("N = 2\n", "print('a\\rb  ')\n") == (
        [{"output_type": "stream", "name": "stdout", "text": ["b\n"]}],
        ["2"],
    )
    assert run("N = 2", N=3) == ([], ["3"])
