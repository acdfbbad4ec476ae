"""Files changed at random: what reads them succeeds or refuses them in a line, in bounded memory and time.

Seeds and numbers of attempts are fixed. `DPRD_FUZZ=20` makes twenty times as many, with seeds of their own.
"""

import os

import pytest

TIMES = int(os.environ.get("DPRD_FUZZ", "0"))
#: Attempts on each target.
ATTEMPTS = {
    "coco": 200,
    "yolo": 200,
    "voc": 150,
    "image files": 600,
    "toml configs": 100,
    "study files": 250,
    "damaged checkpoints": 300,
    "checkpoint structures": 80,
    "loaded checkpoints": 16,
    "pickle programs": 1500,
    "damaged pickles": 500,
    "safetensors files": 80,
    "results files": 250,
    "run folders": 10,
    "command lines": 40,
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_any_file_is_used_or_refused_in_a_line(cage, tmp_path, name):
    seed, last = (f"long {TIMES}", ATTEMPTS[name] * TIMES) if TIMES else ("usual", ATTEMPTS[name])
    answer = cage.ask(attack=name, seed=seed, first=0, last=last, folder=str(tmp_path))
    told = "\n".join(answer["err"])
    assert answer["code"] == 0, f"attempt {answer['attempt']} with seed {seed!r}:\n{told}"
