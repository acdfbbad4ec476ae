import json
import subprocess
import sys

import numpy as np

from paths import ROOT


def test_rare_classes_are_left_out_with_their_images(tmp_path):
    # 3 classes, 2000 images each of one class, and 2000 of the first and the last
    contents = [[1]] * 2000 + [[2]] * 2000 + [[3]] * 2000 + [[1, 3]] * 2000 + [[]] * 10
    tree = {
        "images": [{"id": number} for number in range(len(contents))],
        "annotations": [
            {"image_id": number, "category_id": label}
            for number, labels in enumerate(contents)
            for label in labels
        ],
        "categories": [{"id": label, "name": f"class {label}"} for label in (1, 2, 3)],
    }
    (tmp_path / "train.json").write_text(json.dumps(tree))
    command = [sys.executable, str(ROOT / "scripts" / "skew_classes.py"), "train.json", "skewed.json", "0.04"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    skewed = json.loads((tmp_path / "skewed.json").read_text())
    kept = np.array([image["id"] for image in skewed["images"]])
    # 0.04 ** (0, 1/2, 1) = 1, 0.2, 0.04; standard deviations of 0, 18 and 9
    counts = np.histogram(kept, [0, 2000, 4000, 6000, 8000, 8010])[0]
    assert counts[0] == 2000
    assert counts[4] == 10
    np.testing.assert_allclose(counts[1:4], [400, 80, 80], atol=60)
    notes = skewed["annotations"]
    assert {note["image_id"] for note in notes} == set(kept[kept < 8000].tolist())
    assert len(notes) == sum(len(contents[number]) for number in kept)
    assert said.splitlines()[0] == f"skewed.json: {len(kept)} images"
    assert said.splitlines()[1] == f"  class 1: in {counts[0] + counts[3]}"
