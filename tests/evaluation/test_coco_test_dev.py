import json
from pathlib import Path

import numpy as np
from PIL import Image

from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.evaluation.checkpoint import CheckpointOptions
from dprd_cli.evaluation.coco_test_dev import write_test_dev


def test_files_of_a_listed_folder(tmp_path):
    """Two images with ids of their own: each row is of a listed image and a category of the list."""
    (tmp_path / "test2017").mkdir()
    (tmp_path / "annotations").mkdir()
    images = []
    for number in (5, 9):
        sample = SyntheticDataset("val", length=2, size=160)[number % 2]
        Image.fromarray(np.ascontiguousarray(sample.image)).save(tmp_path / "test2017" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 160, "height": 160})
    categories = [{"id": 10 + i, "name": name} for i, name in enumerate(SyntheticDataset.class_names)]
    listed = tmp_path / "annotations" / "image_info_test-dev2017.json"
    listed.write_text(json.dumps({"images": images, "categories": categories}))
    options = CheckpointOptions(
        weights="demo", data=str(tmp_path), split="test-dev", out=tmp_path / "out", device="cpu"
    )
    files = write_test_dev(options)
    assert files.images == 2
    assert files.to_json()["split"] == "test-dev"
    (boxes,) = (Path(path) for path in files.files if path.suffix == ".json" and "bbox" in str(path))
    rows = json.loads(boxes.read_text())
    assert len(rows) == files.detections > 0
    assert {row["image_id"] for row in rows} <= {5, 9}
    assert {row["category_id"] for row in rows} <= {category["id"] for category in categories}
