import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.masks import rle_to_mask
from dprd_cli.results import Results, image_ids, output_folder, picture_names, write_picture
from dprd_cli.structures import Detections


def paths(*names):
    return [Path(name) for name in names]


def found(masks=True):
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 5.0, 5.0]])
    return Detections(
        boxes,
        torch.tensor([0.75, 0.25]),
        torch.tensor([1, 0]),
        (80, 100),
        masks=torch.ones(2, 28, 28) if masks else None,
        mask_scores=torch.tensor([0.5, 0.125]) if masks else None,
        part_boxes=boxes[:, None].repeat(1, 4, 1),
    )


def write(tmp_path, detections, **options):
    results = Results(("cat", "dog"), (3, 7), **options)
    results.add(Path("in/a.jpg"), 42, detections, "a.jpg")
    assert [path.name for path in results.save(tmp_path)] == ["results.json", "images.json", "results.csv"]
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    return *(json.loads((tmp_path / name).read_text()) for name in ("results.json", "images.json")), rows


def test_results_are_cocos_with_original_ids(tmp_path):
    records, images, rows = write(tmp_path, found(), with_parts=True)
    first = records[0]
    assert (first["image_id"], first["category_id"], first["score"], first["mask_score"]) == (
        42,
        7,
        0.75,
        0.5,
    )
    assert first["bbox"] == [10, 20, 20, 40]
    assert first["part_boxes"] == [[10, 20, 20, 40]] * 4
    assert rle_to_mask(first["segmentation"]).shape == (80, 100)
    assert rle_to_mask(first["segmentation"]).sum() == 20 * 40
    assert images == [{"id": 42, "file_name": "in/a.jpg", "width": 100, "height": 80, "picture": "a.jpg"}]
    assert (rows[0]["file"], rows[0]["class"], rows[0]["score"], rows[0]["mask_score"]) == (
        "in/a.jpg",
        "dog",
        "0.75",
        "0.5",
    )
    assert [rows[0][key] for key in ("x1", "y1", "x2", "y2")] == ["10", "20", "30", "60"]
    assert [rows[0][f"part4_{key}"] for key in ("x1", "y1", "x2", "y2")] == ["10", "20", "30", "60"]


def test_without_masks_and_parts(tmp_path):
    for detections, options in ((found(masks=False), {}), (found(), {"with_masks": False})):
        records, _, rows = write(tmp_path, detections, with_parts=False, **options)
        assert set(records[0]) == {"image_id", "category_id", "bbox", "score"}
        assert rows[0]["mask_score"] == ""
        assert "part1_x1" not in rows[0]


def test_nothing_found(tmp_path):
    records, images, rows = write(tmp_path, found()[:0], with_parts=True)
    assert (records, rows, len(images)) == ([], [], 1)


def test_ids_are_the_numbers_of_the_files_where_all_are_numbers():
    assert image_ids(paths("000285.jpg", "17.png")) == [285, 17]
    assert image_ids(paths("285.jpg", "x.png")) == [1, 2]
    assert image_ids(paths("a/7.jpg", "b/007.jpg")) == [1, 2]  # the same number twice
    assert image_ids(paths("²³.jpg")) == [1]


def test_names_never_collide():
    names = picture_names(paths("a/x.jpg", "b/x.jpg", "c/X.png", "d/x-2.jpg", "y.JPEG", "z.tif"))
    assert names == ["x.jpg", "x-2.jpg", "X-3.png", "x-2-2.jpg", "y.jpg", "z.png"]
    assert picture_names(paths("a.jpg", "grid.jpg"), ".png", reserved=["grid"]) == ["a.png", "grid-2.png"]


def test_the_folder_of_the_inputs_is_never_written_to(tmp_path):
    picture = tmp_path / "a.jpg"
    picture.write_text("")
    with pytest.raises(UsageError, match="holds pictures that are read"):
        output_folder(tmp_path, [picture])
    with pytest.raises(UsageError, match="a file; choose a folder"):
        output_folder(picture, [])
    assert output_folder(tmp_path / "new" / "deep", [picture]).is_dir()
    with pytest.raises(ResourceError, match="cannot create the folder"):
        output_folder(picture / "below a file", [])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_are_written_as_rgb(tmp_path, name):
    picture = np.zeros((20, 30, 3), dtype=np.uint8)
    picture[..., 0] = 200
    write_picture(tmp_path / name, picture)
    read = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
    assert read.shape == (20, 30, 3)
    assert np.abs(read - picture).max() <= 4
    with pytest.raises(ResourceError, match="cannot save"):
        write_picture(tmp_path / "missing" / name, picture)
