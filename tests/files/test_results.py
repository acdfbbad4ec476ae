from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dprd_cli.errors import ResourceError
from dprd_cli.files.images import write_image
from dprd_cli.files.results import image_ids, image_names


def paths(*names):
    return [Path(name) for name in names]


def test_ids_are_the_numbers_of_the_files_where_all_are_numbers():
    assert image_ids(paths("000285.jpg", "17.png")) == [285, 17]
    assert image_ids(paths("285.jpg", "x.png")) == [1, 2]
    assert image_ids(paths("a/7.jpg", "b/007.jpg")) == [1, 2]  # the same number twice
    assert image_ids(paths("²³.jpg")) == [1]
    assert image_ids(paths("2007_000027.jpg", "000005.jpg")) == [2007000027, 5]  # VOC's


def test_names_never_collide():
    names = image_names(paths("a/x.jpg", "b/x.jpg", "c/X.png", "d/x-2.jpg", "y.JPEG", "z.tif"))
    assert names == ["x.jpg", "x-2.jpg", "X-3.png", "x-2-2.jpg", "y.jpg", "z.png"]
    assert image_names(paths("a.jpg", "grid.jpg"), ".png", reserved=["grid"]) == ["a.png", "grid-2.png"]
    assert image_names(paths(*(f"{n}/x.png" for n in range(3)))) == ["x.png", "x-2.png", "x-3.png"]
    assert image_names(paths("aux.png", "Com1.jpg", "console.png")) == [
        "aux-2.png",
        "Com1-2.jpg",
        "console.png",
    ]
    long = image_names(paths("ä" * 120 + "1.png", "ä" * 120 + "2.png"))
    assert long == ["ä" * 90 + ".png", "ä" * 90 + "-2.png"]  # 180 bytes, and no half of a character


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_images_are_written_as_rgb(tmp_path, name):
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[..., 0] = 200
    write_image(tmp_path / name, image)
    read = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
    assert read.shape == (20, 30, 3)
    assert np.abs(read - image).max() <= 4
    with pytest.raises(ResourceError, match="cannot save"):
        write_image(tmp_path / "missing" / name, image)
