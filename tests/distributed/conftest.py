"""For the tests of jobs: images, and results that need no package."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from dprd_cli.distributed.results import JobResults
from dprd_cli.distributed.storage import results_place


def rows_as_json(rows):
    """Encode rows without pyarrow."""
    return json.dumps([asdict(row) for row in rows]).encode()


class JsonResults:
    """Makes results in JSON, and reads them."""

    def __call__(self, folder):
        return JobResults(results_place(str(folder)), rows_as_json, ".rows")

    def read(self, folder):
        """Return the rows of all files, in their order."""
        return [row for path in sorted(folder.rglob("piece-*.rows")) for row in json.loads(path.read_bytes())]


@pytest.fixture
def json_results():
    """Give results that need no pyarrow."""
    return JsonResults()


@pytest.fixture
def images(tmp_path):
    """Write eight images of noise, the third missing and the fifth text; return their names."""
    draw, names = np.random.default_rng(0), []
    (tmp_path / "in").mkdir()
    for number in range(8):
        path = tmp_path / "in" / f"{number}.png"
        if number == 4:
            path.write_text("text")
        elif number != 2:
            Image.fromarray(draw.integers(0, 256, (50, 64, 3), dtype=np.uint8)).save(path)
        names.append(str(path))
    return names
